"""Label Studio's JSON: which rows are its tasks, and the text and entities of a task."""

from collections.abc import Mapping
from typing import Any

from ner_lightning.data.readers.json_entities import PARAGRAPHS, spans_of
from ner_lightning.data.readers.json_spans import checked_text, own_text
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.stated_entities import Changed
from ner_lightning.errors import UserError

_LABELS = ("labels", "hypertextlabels", "paragraphlabels")  # types of results that mark text


def is_task(row: Any) -> bool:
    """Whether a row is a task of Label Studio, whose text is one of its `data`."""
    if not isinstance(row, dict) or not isinstance(row.get("data"), dict):
        return False
    return not {"annotations", "completions", "predictions"}.isdisjoint(row) or not own_text(row)


def is_skipped(row: Any) -> bool:
    """Whether the annotator rejected or ignored a row (Prodigy), or cancelled it (Label Studio)."""
    if not isinstance(row, dict):
        return False
    if row.get("answer") in ("reject", "ignore"):
        return True
    done = _annotations(row) if is_task(row) else None
    return isinstance(done, list) and not any(map(_is_valid, done))


def has_predictions_alone(row: Any) -> bool:
    """Whether a Label Studio task has predictions of a model, and no annotation, which then are read."""
    return is_task(row) and "predictions" in row and not {"annotations", "completions"} & row.keys()


def has_several(row: Any) -> bool:
    """Whether a task of Label Studio has several annotations that are not cancelled."""
    done = _annotations(row) if is_task(row) else None
    return isinstance(done, list) and sum(map(_is_valid, done)) > 1


def others(row: Any) -> int:
    """The number of results of a Label Studio task, such as relations and choices, that mark no text."""
    return sum(not _is_label(entry) for entry in _results(row, "annotations", "completions"))


def controls(row: Any) -> list[str]:
    """The controls (`from_name`) by which the text of a Label Studio task is labelled."""
    results = filter(_is_label, _results(row, "annotations", "completions", "predictions"))
    return list(dict.fromkeys(str(entry["from_name"]) for entry in results if entry.get("from_name")))


def _results(row: Any, *fields: str) -> list[Any]:
    """The results that are read of a task, from the first of these fields; none if it is no task."""
    done = next((row[name] for name in fields if name in row), None) if is_task(row) else None
    read = _chosen(done) if isinstance(done, list) else None
    results = read.get("result") if isinstance(read, dict) else None
    return results if isinstance(results, list) else []


def _annotations(row: Mapping[str, Any], otherwise: Any = None) -> Any:
    """What people annotated of a task, also as old versions named it."""
    return row.get("annotations", row.get("completions", otherwise))


def _is_label(entry: Any) -> bool:
    """Whether a result labels text: by its type, or, where scripts left that out, by what it holds."""
    value = entry.get("value") if isinstance(entry, dict) else None
    if not isinstance(value, dict):
        return False
    return str(entry.get("type")).lower() in _LABELS or ("start" in value and any(map(value.get, _LABELS)))


def _is_valid(annotation: Any) -> bool:
    return not (isinstance(annotation, dict) and annotation.get("was_cancelled"))


def _chosen(annotations: list[Any]) -> Any:
    """The annotation that is read: of those not cancelled the ground truth, otherwise the first."""
    valid = [each for each in annotations if _is_valid(each)]
    truths = (each for each in valid if isinstance(each, dict) and each.get("ground_truth"))
    return next(truths, valid[0] if valid else None)


def text_of_task(
    row: Mapping[str, Any],
    text_field: str | None,
    control: str | None,
    changed: Changed,
    *,
    tagged: bool,
) -> tuple[str, tuple[CharSpan, ...]]:
    """The text and the entities of a task; of several annotations the ground truth counts, or the first.

    Args:
        row: the task.
        text_field: which of its texts; None: `text`, or the only one.
        control: the control whose labels are read (`from_name`); None: all.
        changed: called with each kind of change, and the text where it was.
        tagged: whether entities are read.

    Raises:
        UserError: the task has no such text, or several, or no annotation, or one of paragraphs.
    """
    texts = {name: value for name, value in row["data"].items() if isinstance(value, str)}
    done = _annotations(row, row.get("predictions"))
    result: list[Any] = []
    if tagged:
        if not isinstance(done, list) or not done:
            raise UserError("a task of Label Studio without annotations; export annotated tasks only")
        read = _chosen(done)
        result = read.get("result", []) if isinstance(read, dict) else []
    labels = [entry for entry in result if _is_label(entry) and control in (None, entry.get("from_name"))]
    marked = [entry["value"] for entry in labels]
    if any("paragraphlabels" in value for value in marked):
        raise UserError(PARAGRAPHS)
    name = text_field or ("text" if "text" in texts or len(texts) != 1 else next(iter(texts)))
    if name not in texts:
        raise UserError(
            f"a task of Label Studio with no text {name!r} in data; name one as data.files.words_column "
            f"(predict: --words_column); texts: {', '.join(texts) or 'none'}"
        )
    of_others = {str(entry.get("to_name")) for entry in labels} & texts.keys() - {name}
    if of_others:
        raise UserError(
            f"labels of Label Studio that mark the text {min(of_others)!r}, not {name!r}; name it as "
            "data.files.words_column, or leave them out"
        )
    text = checked_text(texts[name], name)
    return text, spans_of(marked, text, changed)
