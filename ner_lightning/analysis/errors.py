"""Errors of a prediction file: what was missed, spurious, of the wrong type or boundary."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ner_lightning.data.schemes import Span, spans
from ner_lightning.terminal import printable

BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


class Mistake(NamedTuple):
    """One disagreement between gold and prediction.

    Attributes:
        kind: `missed`, `spurious`, `wrong type`, `wrong boundary`, or `type and boundary`.
        gold: the gold entity, None if spurious.
        predicted: the predicted one, None if missed.
        probability: of the predicted entity, 0 if there is none.
    """

    kind: str
    gold: Span | None
    predicted: Span | None
    probability: float


def mistakes(row: Mapping[str, Any]) -> list[Mistake]:
    """The disagreements of one row of a prediction file.

    A wrong prediction is paired with the first unpaired gold entity that shares a word with it.
    """
    gold, predicted = spans(row["gold"]), spans(row["predicted"])
    missed = [span for span in gold if span not in predicted]
    chances = {
        (e["start"], e["end"]): e.get("marginal", e.get("softmax_product", 0.0))
        for e in row.get("entities", ())
    }
    found = []
    for wrong in (span for span in predicted if span not in gold):
        pair = next((g for g in missed if g.start < wrong.end and wrong.start < g.end), None)
        if pair is not None:
            missed.remove(pair)
        found.append(Mistake(_kind(pair, wrong), pair, wrong, chances.get(wrong[1:], 0.0)))
    return found + [Mistake("missed", span, None, 0.0) for span in missed]


def worst(rows: Iterable[Mapping[str, Any]], count: int) -> list[tuple[Mapping[str, Any], list[Mistake]]]:
    """Sentences with mistakes, the most confidently wrong first."""
    wrong = [(row, found) for row in rows if (found := mistakes(row))]
    return sorted(wrong, key=lambda pair: -max(m.probability for m in pair[1]))[:count]


def describe(row: Mapping[str, Any], found: Sequence[Mistake], *, colour: bool = False) -> Iterator[str]:
    """Lines for a terminal: the sentence with its mistaken words marked, then each mistake."""
    words = [printable(word) for word in row["words"]]
    marked = {
        place
        for mistake in found
        for span in (mistake.gold, mistake.predicted)
        if span is not None
        for place in range(span.start, span.end)
    }
    open_, close = (BOLD, PLAIN) if colour else ("*", "*")
    yield " ".join(f"{open_}{w}{close}" if i in marked else w for i, w in enumerate(words))
    for mistake in found:
        name = [
            f"{printable(span.type)} {' '.join(words[span.start : span.end])}" if span else "nothing"
            for span in (mistake.predicted, mistake.gold)
        ]
        sure = f" ({mistake.probability:.0%} sure)" if mistake.predicted else ""
        yield f"    {mistake.kind}: predicted {name[0]}{sure}, gold {name[1]}"


def _kind(gold: Span | None, predicted: Span) -> str:
    if gold is None:
        return "spurious"
    if gold[1:] == predicted[1:]:
        return "wrong type"
    return "wrong boundary" if gold.type == predicted.type else "type and boundary"
