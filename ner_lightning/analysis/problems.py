"""The costliest problems of a split: classes of mistakes, the most frequent types in each, an example."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ner_lightning.analysis.failure import NOTHING, Analysis, ErrorClass
from ner_lightning.analysis.findings import AROUND, Example
from ner_lightning.analysis.mistakes import Mistake
from ner_lightning.analysis.render.blocks import shown
from ner_lightning.analysis.rows import Row
from ner_lightning.data.schemes import Span

PROBLEMS = 3


class Problem(NamedTuple):
    """A class of mistakes.

    Attributes:
        error: the class, its size, and the F1 that fixing it would gain.
        gold, predicted: the most frequent types in it, as in `PER` or `ORG + PER`; `nothing` for a missed or
            spurious entity.
        times: how many of its mistakes are of these types.
        is_tied: whether as many are of others.
        sentence: index of a sentence with such a mistake: the most probable one, and of those the shortest.
        mistake: the mistake there.
    """

    error: ErrorClass
    gold: str
    predicted: str
    times: int
    is_tied: bool
    sentence: int
    mistake: Mistake


def problems(analysis: Analysis, count: int = PROBLEMS) -> list[Problem]:
    """The classes whose fixing would gain most F1, the costliest first."""
    return [_problem(analysis, error) for error in analysis.classes[:count]]


def _problem(analysis: Analysis, error: ErrorClass) -> Problem:
    members = [
        (index, mistake)
        for index, found in enumerate(analysis.mistakes)
        for mistake in found
        if mistake.kind == error.kind
    ]
    pairs = Counter(_types(mistake) for _, mistake in members)
    pair = max(pairs, key=lambda each: (pairs[each], each))
    rows = analysis.predictions.rows
    index, mistake = min(
        ((index, mistake) for index, mistake in members if _types(mistake) == pair),
        key=lambda each: (-each[1].probability, len(rows[each[0]].words), each[0]),
    )
    is_tied = list(pairs.values()).count(pairs[pair]) > 1
    return Problem(error, *pair, pairs[pair], is_tied, index, mistake)


def _types(mistake: Mistake) -> tuple[str, str]:
    types = [sorted({span.type for span in side}) for side in (mistake.gold, mistake.predicted)]
    gold, predicted = (" + ".join(each) or NOTHING for each in types)
    return gold, predicted


def place_of(row: Row, index: int, split: str) -> str:
    """Where a sentence is, as in `valid, sentence 3`, counted from 1.

    Args:
        row: the sentence.
        index: its index in the predictions, which counts where the file does not number its sentences.
        split: the name of the split.
    """
    return f"{split}, sentence {(index if row.sentence is None else row.sentence) + 1:,}"


def example(row: Row, mistake: Mistake, location: str) -> Example:
    """The words around a mistake: what is gold is marked, or else what is predicted; a note says the rest."""
    spans = mistake.gold or mistake.predicted
    everything = (*mistake.gold, *mistake.predicted)
    first, last = min(span.start for span in everything), max(span.end for span in everything)
    low, high = max(0, first - AROUND), min(len(row.words), last + AROUND)
    return Example(
        location,
        tuple(row.words[low:high]),
        tuple(Span(kind, start - low, end - low) for kind, start, end in spans),
        (first - low, last - low),
        low > 0,
        high < len(row.words),
        _note(row, mistake),
    )


def _note(row: Row, mistake: Mistake) -> str:
    sure = f", {mistake.probability:.0%} sure" if mistake.probability else ""
    if not mistake.gold:
        return f"predicted, gold has nothing here{sure}"
    same = [span[1:] for span in mistake.gold] == [span[1:] for span in mistake.predicted]
    return f"predicted: {_listed(row, mistake.predicted, words=not same)}{sure}"


def _listed(row: Row, spans: Sequence[Span], *, words: bool) -> str:
    names = (f"{span.type} {' '.join(map(shown, row.words[span.start : span.end]))}" for span in spans)
    return ", ".join(names if words else (span.type for span in spans)) or "nothing"
