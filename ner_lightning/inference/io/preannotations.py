"""Tagged texts as pre-annotations that annotation tools import: doccano, Label Studio, Prodigy."""

import math
from pathlib import Path
from typing import Any

from ner_lightning.data.readers.record import CharSpan, Record
from ner_lightning.data.writers.annotation_tools import (
    doccano_row,
    label_studio_results,
    label_studio_task,
    prodigy_task,
)
from ner_lightning.inference.result import Tagged
from ner_lightning.system.atomic import replacing_text

MODEL = "ner-lightning"


def doccano(record: Record, tagged: Tagged) -> dict[str, Any]:
    """A row of doccano's JSONL, with the score of each label beside them."""
    return _origin(record) | doccano_row(tagged.text, *_scored(tagged))


def prodigy(record: Record, tagged: Tagged) -> dict[str, Any]:
    """A task of Prodigy, with its tokens, and a score for each span."""
    return prodigy_task(tagged.text, tagged.offsets, *_scored(tagged)) | {"meta": _origin(record)}


def label_studio(record: Record, tagged: Tagged) -> dict[str, Any]:
    """A task of Label Studio with a prediction, which the annotator accepts or corrects."""
    prediction = {
        "model_version": MODEL,
        "score": round(_certainty(tagged), 6),
        "result": label_studio_results(tagged.text, *_scored(tagged)),
    }
    return label_studio_task(tagged.text, _origin(record), predictions=prediction)


def _scored(tagged: Tagged) -> tuple[list[CharSpan], list[float]]:
    """The entities, with those that overlap them if they are kept, and the score of each."""
    rows = tagged.entity_dicts()
    return [CharSpan(row["start"], row["end"], row["label"]) for row in rows], [row["score"] for row in rows]


def _certainty(tagged: Tagged) -> float:
    """How certain a text is, by which an annotator may sort: the smaller, the more uncertain.

    Of two best tag sequences the probability of the first, if there is no third; otherwise that of the least
    probable entity. What overlaps entities is improbable, and would say nothing of how uncertain a text is.
    """
    if tagged.paths is not None and len(tagged.paths) > 1:
        (_, best), (_, second) = tagged.paths[:2]
        return float(1 / (1 + math.exp(second - best)))
    return min((entity.score for entity in tagged.entities), default=1.0)


def as_list(lines: Path, file: Path) -> None:
    """Converts lines of JSON to one JSON list, which Label Studio imports."""
    with lines.open(encoding="utf-8") as rows, replacing_text(file) as out:
        out.write("[")
        for number, row in enumerate(rows):
            out.write(("\n" if number == 0 else ",\n") + row.rstrip("\n"))
        out.write("\n]\n")


def _origin(record: Record) -> dict[str, Any]:
    """Where a text is from, and its id if it has one."""
    origin = {"file": record.source, "line": record.line}
    return origin if record.id is None else {"id": record.id} | origin
