"""Mistakes of a prediction file, in classes whose counts add up to all false positives and negatives."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ner_lightning.analysis.rows import Predictions, Row
from ner_lightning.data.schemes import Span
from ner_lightning.system.terminal import bold, printable

NOISE = "likely annotation noise"
CLASSES = {
    "missed": "no predicted entity shares a word with the gold one",
    "spurious": "no gold entity shares a word with the predicted one",
    "wrong type": "the same words, another type",
    "too long": "the same type, more words than in gold",
    "too short": "the same type, fewer words than in gold",
    "shifted": "the same type, some words too many and some too few",
    "split": "one gold entity predicted as several of its type",
    "merged": "several gold entities of a type predicted as one",
    "type and boundary": "other words and another type",
    NOISE: "the model is confident and the rest of the data agrees with it: check the annotation",
}
CONFIDENT = 0.95  # probability from which a disagreement may be an annotation error
AGREEING = 2  # occurrences elsewhere that must be annotated as predicted


class Mistake(NamedTuple):
    """One disagreement: entities that share words, or a single entity that shares them with none.

    Attributes:
        kind: one of `CLASSES`.
        gold: gold entities that were not predicted, each a false negative.
        predicted: predicted entities that are not gold, each a false positive.
        probability: of the most probable predicted entity, 0 if there is none or it is unknown.
    """

    kind: str
    gold: tuple[Span, ...]
    predicted: tuple[Span, ...]
    probability: float


Mistakes = Sequence[Sequence[Mistake]]
"""The mistakes of each sentence of a split."""


def mistakes(row: Row) -> list[Mistake]:
    """The disagreements of one sentence, in reading order."""
    correct = row.correct
    errors = [(span, True) for span in row.gold if span not in correct]
    errors += [(span, False) for span in row.predicted if span not in correct]
    errors.sort(key=lambda pair: (pair[0].start, pair[0].end))
    groups: list[tuple[list[Span], list[Span]]] = []
    reach = -1
    for span, is_gold in errors:
        # Spans of one side never overlap, so what overlaps the group so far belongs to it.
        if span.start >= reach:
            groups.append(([], []))
        groups[-1][0 if is_gold else 1].append(span)
        reach = max(reach, span.end)
    return [
        Mistake(
            _kind(gold, predicted),
            tuple(gold),
            tuple(predicted),
            max(map(row.probability, predicted), default=0.0),
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
        (g,), (p,) = gold, predicted
        if g[1:] == p[1:]:
            return "wrong type"
        if one_type:
            longer = p.start <= g.start and g.end <= p.end
            shorter = g.start <= p.start and p.end <= g.end
            return "too long" if longer else "too short" if shorter else "shifted"
    if not one_type:
        return "type and boundary"
    if len(gold) == 1:
        return "split"
    return "merged" if len(predicted) == 1 else "shifted"


def all_mistakes(predictions: Predictions) -> list[list[Mistake]]:
    """The mistakes of every sentence; with probabilities, likely annotation noise is its own class."""
    by_row = [mistakes(row) for row in predictions.rows]
    if predictions.probability_name is None:
        return by_row
    annotated = _annotated_as(predictions)
    outside = _unannotated(predictions, by_row)
    return [
        [m._replace(kind=NOISE) if _is_noise(row, m, annotated, outside) else m for m in row_mistakes]
        for row, row_mistakes in zip(predictions.rows, by_row, strict=True)
    ]


def _annotated_as(predictions: Predictions) -> Counter[tuple[str, str]]:
    """How often a surface form is annotated as a type, in training and in this split."""
    counts: Counter[tuple[str, str]] = Counter()
    for kind, surfaces in predictions.train.items():
        counts.update({(surface, kind): count for surface, count in surfaces.items()})
    counts.update((row.text(span), span.type) for row in predictions.rows for span in row.gold)
    return counts


def _unannotated(predictions: Predictions, by_row: Mistakes) -> Counter[str]:
    """How often each surface form of a spurious entity occurs in the split outside any annotation."""
    surfaces = {
        row.text(m.predicted[0])
        for row, row_mistakes in zip(predictions.rows, by_row, strict=True)
        for m in row_mistakes
        if m.kind == "spurious"
    }
    lengths: dict[str, set[int]] = {}  # by first word: many surface forms may share it
    for surface in surfaces:
        words = surface.split(" ")
        lengths.setdefault(words[0], set()).add(len(words))
    counts: Counter[str] = Counter()
    for row in predictions.rows:
        inside = _indices(row.gold)
        for start, word in enumerate(row.words):
            for length in lengths.get(word, ()):
                end = start + length
                surface = " ".join(row.words[start:end])
                if end <= len(row.words) and surface in surfaces and inside.isdisjoint(range(start, end)):
                    counts[surface] += 1
    return counts


def _indices(entities: Iterable[Span]) -> set[int]:
    """Indices of the words inside entities."""
    return {index for span in entities for index in range(span.start, span.end)}


def _is_noise(row: Row, mistake: Mistake, annotated: Counter[tuple[str, str]], outside: Counter[str]) -> bool:
    """Confident, and elsewhere annotated as predicted here and never as in gold here."""
    if not mistake.predicted or min(map(row.probability, mistake.predicted)) < CONFIDENT:
        return False
    if mistake.kind == "spurious" and outside[row.text(mistake.predicted[0])] > 1:
        return False
    agreeing = min(annotated[row.text(span), span.type] for span in mistake.predicted)
    contrary = max((annotated[row.text(span), span.type] - 1 for span in mistake.gold), default=0)
    return agreeing >= AGREEING and contrary == 0


def worst(predictions: Predictions, by_row: Mistakes, count: int) -> list[tuple[Row, Sequence[Mistake]]]:
    """Sentences with mistakes, those with the most probable mistake first."""
    rows = [(row, found) for row, found in zip(predictions.rows, by_row, strict=True) if found]
    return sorted(rows, key=lambda pair: -max(m.probability for m in pair[1]))[:count]


def describe(row: Row, row_mistakes: Sequence[Mistake], *, colour: bool = False) -> Iterator[str]:
    """Lines for a terminal: the sentence with its mistaken words marked, then each mistake."""
    words = [printable(word) for word in row.words]
    marked = _indices(span for m in row_mistakes for span in (*m.gold, *m.predicted))
    mark = bold if colour else "*{}*".format
    yield " ".join(mark(word) if index in marked else word for index, word in enumerate(words))
    for mistake in row_mistakes:
        predicted, gold = (
            ", ".join(f"{printable(s.type)} {' '.join(words[s.start : s.end])}" for s in side) or "nothing"
            for side in (mistake.predicted, mistake.gold)
        )
        sure = f" ({mistake.probability:.0%} sure)" if mistake.probability else ""
        yield f"    {mistake.kind}: predicted {predicted}{sure}, gold {gold}"
