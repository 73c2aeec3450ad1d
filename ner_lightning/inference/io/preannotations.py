"""Tagged texts as pre-annotations that annotation tools import: doccano, Label Studio, Prodigy.

Entities that share words, which `--overlaps keep` keeps, are written as well: all three tools can hold them.
"""

import math
from pathlib import Path
from typing import Any

from ner_lightning.data.annotation_writers import label_studio_result, prodigy_tokens
from ner_lightning.data.readers.record import CharSpan, Record
from ner_lightning.inference.result import Tagged
from ner_lightning.system.atomic import replacing_text

MODEL = "ner-lightning"


def doccano(record: Record, tagged: Tagged) -> dict[str, Any]:
    """A row of doccano's JSONL, with the score of each label beside them, which doccano keeps as metadata."""
    entities = tagged.entity_dicts()
    return _origin(record) | {
        "text": tagged.text,
        "label": [[entity["start"], entity["end"], entity["label"]] for entity in entities],
        "scores": [entity["score"] for entity in entities],
    }


def prodigy(record: Record, tagged: Tagged) -> dict[str, Any]:
    """A task of Prodigy, with its tokens, and a score for each span."""
    spans = [
        {
            "start": entity["start"],
            "end": entity["end"],
            "token_start": entity["word_start"],
            "token_end": entity["word_end"] - 1,
            "label": entity["label"],
            "score": entity["score"],
        }
        for entity in tagged.entity_dicts()
    ]
    return {
        "text": tagged.text,
        "tokens": prodigy_tokens(tagged.text, tagged.offsets),
        "spans": spans,
        "meta": _origin(record),
    }


def label_studio(record: Record, tagged: Tagged) -> dict[str, Any]:
    """A task of Label Studio with a prediction, which the annotator accepts or corrects."""
    result = [
        {"id": f"entity{number}", "score": entity["score"]}
        | label_studio_result(tagged.text, CharSpan(entity["start"], entity["end"], entity["label"]))
        for number, entity in enumerate(tagged.entity_dicts(), start=1)
    ]
    prediction = {"model_version": MODEL, "score": round(_certainty(tagged), 6), "result": result}
    return {"data": {"text": tagged.text} | _origin(record), "predictions": [prediction]}


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
