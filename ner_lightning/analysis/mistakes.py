"""Mistakes of a prediction file, in classes whose counts add up to all false positives and negatives."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ner_lightning.analysis.rows import Predictions, Row
from ner_lightning.data.schemes import Span
from ner_lightning.system.terminal import printable

BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
NOISE = "likely annotation noise"
CLASSES = {
    "missed": "no predicted entity shares a word with the annotated one",
    "spurious": "no annotated entity shares a word with the predicted one",
    "wrong type": "the right words, another type",
    "too long": "the right type, more words than annotated",
    "too short": "the right type, fewer words than annotated",
    "shifted": "the right type, some words too many and some too few",
    "split": "one annotated entity predicted as several of its type",
    "merged": "several annotated entities of a type predicted as one",
    "type and boundary": "other words and another type",
    NOISE: "the model is sure, and the rest of the data is annotated as it says: look at the annotation",
}
SURE = 0.95  # probability from which a disagreement may be the annotation's fault
AGREEING = 2  # occurrences elsewhere that must be annotated as predicted


class Mistake(NamedTuple):
    """One disagreement: entities that share words, or one that shares them with none.

    Attributes:
        kind: one of `CLASSES`.
        gold: annotated entities that were not predicted so, each a false negative.
        predicted: predicted entities that are not annotated so, each a false positive.
        probability: of the most probable predicted entity, 0 if there is none or it is unknown.
    """

    kind: str
    gold: tuple[Span, ...]
    predicted: tuple[Span, ...]
    probability: float


def mistakes(row: Row) -> list[Mistake]:
    """The disagreements of one sentence, in reading order."""
    right = set(row.gold) & set(row.predicted)
    wrong = [(span, True) for span in row.gold if span not in right]
    wrong += [(span, False) for span in row.predicted if span not in right]
    wrong.sort(key=lambda pair: (pair[0].start, pair[0].end))
    groups: list[tuple[list[Span], list[Span]]] = []
    reach = -1
    for span, annotated in wrong:
        # Spans of one side never overlap, so what overlaps the group so far belongs to it.
        if span.start >= reach:
            groups.append(([], []))
        groups[-1][0 if annotated else 1].append(span)
        reach = max(reach, span.end)
    return [
        Mistake(
            _kind(gold, predicted),
            tuple(gold),
            tuple(predicted),
            max(map(row.chance, predicted), default=0.0),
        )
        for gold, predicted in groups
    ]


def _kind(gold: Sequence[Span], predicted: Sequence[Span]) -> str:
    if not predicted:
        return "missed"
    if not gold:
        return "spurious"
    one_type = len({span.type for span in (*gold, *predicted)}) == 1
    if len(gold) == len(predicted) == 1:
        (true,), (said,) = gold, predicted
        if true[1:] == said[1:]:
            return "wrong type"
        if one_type:
            longer = said.start <= true.start and true.end <= said.end
            shorter = true.start <= said.start and said.end <= true.end
            return "too long" if longer else "too short" if shorter else "shifted"
    if not one_type:
        return "type and boundary"
    if len(gold) == 1:
        return "split"
    return "merged" if len(predicted) == 1 else "shifted"


def all_mistakes(predictions: Predictions) -> list[list[Mistake]]:
    """The mistakes of every sentence; likely annotation noise is told apart where that can be."""
    found = [mistakes(row) for row in predictions.rows]
    if predictions.probability_name is None:
        return found
    said = _readings(predictions)
    plain = _left_outside(predictions, found)
    return [
        [m._replace(kind=NOISE) if _is_noise(row, m, said, plain) else m for m in those]
        for row, those in zip(predictions.rows, found, strict=True)
    ]


def _readings(predictions: Predictions) -> Counter[tuple[str, str]]:
    """How often a surface form is annotated as a type, in training and in this split."""
    said: Counter[tuple[str, str]] = Counter()
    for kind, surfaces in predictions.train.items():
        said.update({(surface, kind): count for surface, count in surfaces.items()})
    said.update((row.text(span), span.type) for row in predictions.rows for span in row.gold)
    return said


def _left_outside(predictions: Predictions, found: Sequence[Sequence[Mistake]]) -> Counter[str]:
    """How often each surface form of a spurious entity stands in the split without any annotation."""
    wanted = {
        row.text(m.predicted[0])
        for row, those in zip(predictions.rows, found, strict=True)
        for m in those
        if m.kind == "spurious"
    }
    by_start: dict[str, list[tuple[str, ...]]] = {}
    for surface in wanted:
        words = tuple(surface.split(" "))
        by_start.setdefault(words[0], []).append(words)
    outside: Counter[str] = Counter()
    for row in predictions.rows:
        inside = {place for span in row.gold for place in range(span.start, span.end)}
        for place, word in enumerate(row.words):
            for words in by_start.get(word, ()):
                end = place + len(words)
                if tuple(row.words[place:end]) == words and inside.isdisjoint(range(place, end)):
                    outside[" ".join(words)] += 1
    return outside


def _is_noise(row: Row, mistake: Mistake, said: Counter[tuple[str, str]], outside: Counter[str]) -> bool:
    """Sure, and the annotation elsewhere has the predicted reading and never the one it has here."""
    if not mistake.predicted or min(map(row.chance, mistake.predicted)) < SURE:
        return False
    if mistake.kind == "spurious" and outside[row.text(mistake.predicted[0])] > 1:
        return False
    agreeing = min(said[row.text(span), span.type] for span in mistake.predicted)
    contrary = max((said[row.text(span), span.type] - 1 for span in mistake.gold), default=0)
    return agreeing >= AGREEING and contrary == 0


def worst(
    predictions: Predictions, found: Sequence[Sequence[Mistake]], count: int
) -> list[tuple[Row, Sequence[Mistake]]]:
    """Sentences with mistakes, the most confidently wrong first."""
    wrong = [(row, those) for row, those in zip(predictions.rows, found, strict=True) if those]
    return sorted(wrong, key=lambda pair: -max(m.probability for m in pair[1]))[:count]


def describe(row: Row, found: Iterable[Mistake], *, colour: bool = False) -> Iterator[str]:
    """Lines for a terminal: the sentence with its mistaken words marked, then each mistake."""
    found = list(found)
    words = [printable(word) for word in row.words]
    marked = {
        place
        for mistake in found
        for span in (*mistake.gold, *mistake.predicted)
        for place in range(span.start, span.end)
    }
    open_, close = (BOLD, PLAIN) if colour else ("*", "*")
    yield " ".join(f"{open_}{w}{close}" if i in marked else w for i, w in enumerate(words))
    for mistake in found:
        said, true = (
            ", ".join(f"{printable(s.type)} {' '.join(words[s.start : s.end])}" for s in side) or "nothing"
            for side in (mistake.predicted, mistake.gold)
        )
        sure = f" ({mistake.probability:.0%} sure)" if mistake.probability else ""
        yield f"    {mistake.kind}: predicted {said}{sure}, gold {true}"
