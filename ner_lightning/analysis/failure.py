"""The failure analysis of a split: everything that its predictions alone can say."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ner_lightning.analysis import slices
from ner_lightning.analysis.mistakes import CLASSES, Mistake, all_mistakes
from ner_lightning.analysis.reasons import Reason, reasons
from ner_lightning.analysis.resampling import Counts, Interval, intervals
from ner_lightning.analysis.rows import Predictions
from ner_lightning.analysis.slices import Slice
from ner_lightning.metrics.from_counts import f1, precision_recall

NOTHING = "nothing"
BINS = 10


class ErrorClass(NamedTuple):
    """A class of mistakes.

    Attributes:
        kind: its name, one of `errors.CLASSES`.
        mistakes: how many.
        spurious: predicted entities in them that are wrong: false positives.
        lost: annotated entities in them that were not found: false negatives.
        gain: how much higher F1 were without them.
    """

    kind: str
    mistakes: int
    spurious: int
    lost: int
    gain: float


class SurfaceForm(NamedTuple):
    """A surface form that is read in another way than it is annotated.

    Attributes:
        text: the words.
        gold: the type it is annotated as, or `nothing`.
        predicted: the type it is predicted as, or `nothing`.
        times: how often.
    """

    text: str
    gold: str
    predicted: str
    times: int


class Bin(NamedTuple):
    """Predicted entities of like probability.

    Attributes:
        low, high: bounds of the probability.
        size: how many entities.
        said: their mean probability.
        true: the share of them that is right.
    """

    low: float
    high: float
    size: int
    said: float
    true: float


@dataclass(frozen=True)
class Analysis:
    """What predictions say about a model.

    Attributes:
        predictions: what was analysed.
        totals: correct, predicted and gold entities of each sentence. *Shape:* (S, 3)
        scores: micro `precision`, `recall` and `f1` with their intervals.
        accuracy: the share of words with the right tag.
        found: the mistakes of each sentence.
        classes: classes of mistakes, the one that costs most F1 first.
        confusion: for (annotated, predicted) type, how many entities; `nothing` is missed or spurious.
        slices: for each property, its groups.
        reasons: groups that are harder or easier than the rest beyond chance.
        contrasts: how many groups were looked at for that.
        forms: the most confused surface forms.
        documents: those with most errors, and how many.
        calibration: of entity probabilities; empty if there are none.
    """

    predictions: Predictions
    totals: Counts
    scores: dict[str, Interval]
    accuracy: float
    found: list[list[Mistake]]
    classes: list[ErrorClass]
    confusion: dict[tuple[str, str], int]
    slices: dict[str, list[Slice]]
    reasons: list[Reason]
    contrasts: int
    forms: list[SurfaceForm]
    documents: list[tuple[int, Slice]]
    calibration: list[Bin]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: the mean distance of probability and truth, by size of bins."""
        return calibration_error(self.calibration)


def analyse(predictions: Predictions, *, top: int = 15) -> Analysis:
    """Analyses a split.

    Args:
        predictions: of the split.
        top: how many surface forms and documents to list at most.
    """
    counts = slices.totals(predictions)
    found = all_mistakes(predictions)
    groups = {
        name: slices.grouped(predictions, of) for name, of in slices.properties(predictions.train).items()
    }
    order = {slices.TYPE: predictions.types, **slices.ORDERS}
    contrasted, looked_at = reasons(groups)
    words = sum(len(row.words) for row in predictions.rows)
    return Analysis(
        predictions=predictions,
        totals=counts,
        scores=scores(counts),
        accuracy=sum(row.right for row in predictions.rows) / words if words else 0.0,
        found=found,
        classes=error_classes(found, counts),
        confusion=confusion(predictions, found),
        slices={name: slices.slices(group, order.get(name, ())) for name, group in groups.items()},
        reasons=contrasted,
        contrasts=looked_at,
        forms=confused_forms(predictions, found)[:top],
        documents=slices.worst_documents(predictions, top) if predictions.has_documents else [],
        calibration=calibration(predictions),
    )


def scores(counts: Counts) -> dict[str, Interval]:
    """Micro precision, recall and F1 with intervals, from counts of each sentence; (S, 3)."""
    found = {}
    for name, score in (
        ("precision", lambda c: precision_recall(c)[0]),
        ("recall", lambda c: precision_recall(c)[1]),
        ("f1", f1),
    ):
        (found[name],) = intervals(counts[:, None], score)
    return found


def error_classes(found: Sequence[Sequence[Mistake]], counts: Counts) -> list[ErrorClass]:
    """Classes of mistakes with counts and the F1 that mending each would gain.

    To mend a class is to predict what is annotated in its place, all else as it is.
    """
    total = counts.sum(0)
    before = float(f1(total))
    held: dict[str, list[Mistake]] = defaultdict(list)
    for mistake in (m for those in found for m in those):
        held[mistake.kind].append(mistake)
    classes = []
    for kind in CLASSES.keys() & held.keys():
        spurious = sum(len(m.predicted) for m in held[kind])
        lost = sum(len(m.gold) for m in held[kind])
        after = float(f1(total + np.array([lost, lost - spurious, 0])))
        classes.append(ErrorClass(kind, len(held[kind]), spurious, lost, after - before))
    return sorted(classes, key=lambda c: (-c.gain, c.kind))


def confusion(predictions: Predictions, found: Sequence[Sequence[Mistake]]) -> dict[tuple[str, str], int]:
    """Entities by annotated and predicted type.

    Every annotated entity is in a row of its type and every predicted one in a column of its own. In a
    mistake with as many annotated as predicted entities these are paired in reading order; of a
    mistake with more of one side, the rest is paired with nothing.
    """
    table: Counter[tuple[str, str]] = Counter()
    for row, those in zip(predictions.rows, found, strict=True):
        table.update((span.type, span.type) for span in set(row.gold) & set(row.predicted))
        for mistake in those:
            pairs = max(len(mistake.gold), len(mistake.predicted))
            for place in range(pairs):
                gold, predicted = (
                    side[place].type if place < len(side) else NOTHING
                    for side in (mistake.gold, mistake.predicted)
                )
                table[gold, predicted] += 1
    return dict(table)


def confused_forms(predictions: Predictions, found: Sequence[Sequence[Mistake]]) -> list[SurfaceForm]:
    """Surface forms read in another way than annotated, the most frequent first."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for row, those in zip(predictions.rows, found, strict=True):
        for mistake in those:
            gold = {row.text(span): span.type for span in mistake.gold}
            predicted = {row.text(span): span.type for span in mistake.predicted}
            counted.update(
                (text, gold.get(text, NOTHING), predicted.get(text, NOTHING)) for text in gold | predicted
            )
    forms = [SurfaceForm(*what, count) for what, count in counted.items()]
    return sorted(forms, key=lambda form: (-form.times, form.text, form.gold))


def calibration(predictions: Predictions) -> list[Bin]:
    """How often predicted entities of like probability are right, in bins of a tenth."""
    return bins(
        (chance, span in gold)
        for row in predictions.rows
        for gold in [set(row.gold)]
        for span, chance in row.chances.items()
    )


def bins(chances: Iterable[tuple[float, bool]]) -> list[Bin]:
    """Probabilities, and whether what they speak of is so, in bins of a tenth; empty bins are left out."""
    held: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for chance, true in chances:
        held[min(int(chance * BINS), BINS - 1)].append((chance, true))
    return [
        Bin(
            place / BINS,
            (place + 1) / BINS,
            len(pairs),
            sum(chance for chance, _ in pairs) / len(pairs),
            sum(right for _, right in pairs) / len(pairs),
        )
        for place, pairs in enumerate(held)
        if pairs
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of probability and truth, by size of bins."""
    total = sum(each.size for each in bins)
    return sum(each.size * abs(each.said - each.true) for each in bins) / total if total else 0.0
