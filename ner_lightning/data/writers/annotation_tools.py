"""Texts with entities as annotation tools have them: rows of doccano, tasks of Label Studio and Prodigy.

Entities may share words: all three tools can hold such entities.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.running_text import Offsets


def doccano_row(
    text: str, entities: Sequence[CharSpan], scores: Sequence[float] | None = None
) -> dict[str, Any]:
    """A row of doccano: text, and label with [start, end, type].

    Args:
        text: the text.
        entities: its entities.
        scores: the probability of each, which doccano keeps as metadata.
    """
    row = {"text": text, "label": [list(entity) for entity in entities]}
    return row if scores is None else row | {"scores": list(scores)}


def label_studio_task(text: str, beside: Mapping[str, Any], **results: Mapping[str, Any]) -> dict[str, Any]:
    """A task of Label Studio.

    Args:
        text: the text.
        beside: other fields of its data.
        results: an annotation or a prediction, as `annotations` or `predictions`.
    """
    return {"data": {"text": text, **beside}} | {name: [each] for name, each in results.items()}


def label_studio_results(
    text: str, entities: Iterable[CharSpan], scores: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """The entities of an annotation or a prediction of Label Studio.

    Args:
        text: the text.
        entities: its entities.
        scores: the probability of each; entities that have one also have an id.
    """
    results = [
        {
            "value": {"start": start, "end": end, "text": text[start:end], "labels": [type_]},
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
        }
        for start, end, type_ in entities
    ]
    if scores is None:
        return results
    scored = enumerate(zip(scores, results, strict=True), start=1)
    return [{"id": f"entity{number}", "score": score} | result for number, (score, result) in scored]


def prodigy_task(
    text: str, words: Sequence[Offsets], entities: Sequence[CharSpan], scores: Sequence[float] | None = None
) -> dict[str, Any]:
    """A task of Prodigy: text, tokens and spans.

    Args:
        text: the text.
        words: start and end of each word.
        entities: its entities, which begin and end with words.
        scores: the probability of each.
    """
    first = {start: index for index, (start, _) in enumerate(words)}
    last = {end: index for index, (_, end) in enumerate(words)}
    tokens = [
        {"text": text[a:b], "start": a, "end": b, "id": number, "ws": text[b : b + 1] == " "}
        for number, (a, b) in enumerate(words)
    ]
    marked = [
        {"start": start, "end": end, "token_start": first[start], "token_end": last[end], "label": type_}
        for start, end, type_ in entities
    ]
    if scores is not None:
        marked = [span | {"score": score} for span, score in zip(marked, scores, strict=True)]
    return {"text": text, "tokens": tokens, "spans": marked}
