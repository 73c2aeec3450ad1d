"""Tables and interactive charts for W&B, from a split's predictions, with or without its text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ner_lightning.analysis.failure import calibration, confusion
from ner_lightning.analysis.mistakes import Mistakes, worst
from ner_lightning.analysis.render.marked_sentences import sentence
from ner_lightning.analysis.rows import Predictions, Row
from ner_lightning.data.schemes import Span
from ner_lightning.runs.fingerprints import digest_in

ERRORS = 50  # sentences in the table of errors
SENTENCES = 5_000  # rows in the table of predictions at most
MARKS = "<style>mark{background:none;border:1px solid}mark.one{border-width:2px;background:#ffe9b8}</style>"


def scores_by_type(by_type: Mapping[str, Mapping[str, float]]) -> Any:
    """Precision, recall, F1 and counts of each type; support is the number of gold entities."""
    columns = ["type", "precision", "recall", "f1", "support", "predicted", "correct"]
    keys = ["precision", "recall", "f1", "gold", "predicted", "correct"]
    return _table(columns, ([name, *(row[key] for key in keys)] for name, row in by_type.items()))


def confused(predictions: Predictions, mistakes: Mistakes) -> Any:
    """Entities by gold and predicted type, missed and spurious ones included."""
    counts = sorted(confusion(predictions, mistakes).items())
    return _table(["gold", "predicted", "entities"], ([*types, count] for types, count in counts))


def calibrated(predictions: Predictions) -> Any:
    """Probabilities of predicted entities against how often they are correct."""
    columns = ["probability from", "to", "entities", "mean probability", "share correct"]
    return _table(columns, calibration(predictions))


def predicted(predictions: Predictions, mistakes: Mistakes, source: str, *, text: bool) -> Any:
    """A row for each sentence, whose name is the same in every run on the same data, so that tables join.

    Args:
        predictions: of a split.
        mistakes: those of each sentence.
        source: what the names of its sentences begin with, see `sentence_names`.
        text: whether words are in it; otherwise entities are types with their first and last word's number.
    """
    columns = ["sentence", "words", "gold", "predicted", "correct", "mistakes", "least probability"]
    rows = zip(sentence_names(source), predictions.rows, mistakes, strict=False)
    table = ([name, len(row.words), *_sides(row, found, text=text)] for name, row, found in rows)
    return _table([*columns, *(["text"] if text else [])], _first(table, SENTENCES))


def _sides(row: Row, mistakes: Sequence[Any], *, text: bool) -> Iterator[Any]:
    for side in (row.gold, row.predicted):
        yield _entities(row, side, text=text)
    yield len(row.correct)
    yield ", ".join(mistake.kind for mistake in mistakes)
    yield min(row.probabilities.values(), default=None)
    if text:
        yield " ".join(row.words)


def errors(predictions: Predictions, mistakes: Mistakes, source: str, *, text: bool) -> Any:
    """The sentences with the most probable mistakes; the arguments are those of `predicted`."""
    names = dict(zip(map(id, predictions.rows), sentence_names(source), strict=False))
    columns = ["sentence", "classes", "probability", "gold", "predicted"]
    rows = (
        [names[id(row)], *_error(row, found, text=text)]
        for row, found in worst(predictions, mistakes, ERRORS)
    )
    return _table([*columns, *(["text"] if text else [])], rows)


def _error(row: Row, mistakes: Sequence[Any], *, text: bool) -> Iterator[Any]:
    import wandb

    yield ", ".join(mistake.kind for mistake in mistakes)
    yield max(mistake.probability for mistake in mistakes)
    for side in ("gold", "predicted"):
        spans: list[Span] = [span for mistake in mistakes for span in getattr(mistake, side)]
        yield _entities(row, spans, text=text) or "nothing"
    if text:
        both = [
            f"<p>{name}: {sentence(row, entities, set(others))}</p>"
            for name, entities, others in (
                ("gold", row.gold, row.predicted),
                ("predicted", row.predicted, row.gold),
            )
        ]
        yield wandb.Html(MARKS + "".join(both), inject=False)


def sentence_names(source: str) -> Iterator[str]:
    """Names of the sentences of a split, in its order: `source-0`, `source-1`, ..."""
    number = 0
    while True:
        yield f"{source}-{number}"
        number += 1


def source_name(split: str, fingerprint: str) -> str:
    """What the names of a split's sentences begin with: they differ where the data do.

    Example:
        >>> source_name("valid", "sha256:1234567890abcdef")
        'valid-12345678'
    """
    return f"{split}-{digest_in(fingerprint)[:8]}"


def charts(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Charts of confusion, calibration and F1 by type, which show figures where one points.

    Each brings its table along.

    Args:
        tables: `confusion`, `calibration` and `by_type`; one without rows has no chart.
    """
    from wandb import plot

    cells = {"Actual": "gold", "Predicted": "predicted", "nPredictions": "entities"}
    drawn: dict[str, Any] = {}
    if tables["confusion"].data:
        drawn["confusion"] = plot.plot_table("wandb/confusion_matrix/v1", tables["confusion"], cells)
    if tables["calibration"].data:
        title = "Share of correct entities by their probability"
        axes = ("mean probability", "share correct")
        drawn["calibration"] = plot.line(tables["calibration"], *axes, title=title)
    if tables["by_type"].data:
        drawn["by_type"] = plot.bar(tables["by_type"], "type", "f1", title="F1 by type")
    return drawn


def _entities(row: Row, spans: Iterable[Span], *, text: bool) -> str:
    if text:
        return ", ".join(f"{span.type} {row.text(span)}" for span in spans)
    return ", ".join(f"{span.type} {span.start}-{span.end - 1}" for span in spans)


def _first(rows: Iterable[Any], count: int) -> Iterator[Any]:
    return (row for _, row in zip(range(count), rows, strict=False))


def _table(columns: list[str], rows: Iterable[Iterable[Any]]) -> Any:
    import wandb

    return wandb.Table(columns=columns, data=[list(row) for row in rows])
