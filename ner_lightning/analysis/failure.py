"""The failure analysis of a split: everything that its predictions alone can say."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ner_lightning.analysis import slices
from ner_lightning.analysis.mistakes import CLASSES, Mistake, Mistakes, all_mistakes
from ner_lightning.analysis.reasons import Reason, reasons
from ner_lightning.analysis.resampling import Counts, Interval, Sparse, resampled, scored
from ner_lightning.analysis.rows import Predictions
from ner_lightning.analysis.slices import Slice
from ner_lightning.metrics.from_counts import f1, precision_recall

NOTHING = "nothing"
BINS = 10
LISTED = 5  # surface forms and documents


class ErrorClass(NamedTuple):
    """A class of mistakes.

    Attributes:
        kind: its name, one of `mistakes.CLASSES`.
        mistakes: how many.
        false_positives: predicted entities in them.
        false_negatives: gold entities in them.
        gain: how much higher F1 would be without them.
    """

    kind: str
    mistakes: int
    false_positives: int
    false_negatives: int
    gain: float


class ConfusedForm(NamedTuple):
    """A surface form that is predicted otherwise than annotated.

    Attributes:
        text: the words.
        pairs: how often with which gold and predicted type, each a type or `nothing`.
    """

    text: str
    pairs: Counter[tuple[str, str]]

    @property
    def times(self) -> int:
        """How often in all."""
        return self.pairs.total()


class Bin(NamedTuple):
    """Predicted entities of similar probability.

    Attributes:
        low, high: bounds of the probability.
        size: how many entities.
        probability: their mean probability.
        precision: the share of them that is correct.
    """

    low: float
    high: float
    size: int
    probability: float
    precision: float


@dataclass(frozen=True)
class Analysis:
    """What the predictions of a split say about a model.

    Attributes:
        predictions: what was analysed.
        totals: correct, predicted and gold entities of each sentence. *Shape:* (S, 3)
        scores: micro `precision`, `recall` and `f1` with their intervals.
        accuracy: the share of words with the gold tag.
        mistakes: the mistakes of each sentence.
        classes: classes of mistakes, the one that costs most F1 first.
        confusion: for (gold, predicted) type, how many entities; `nothing` is missed or spurious.
        slices: for each property, its groups.
        reasons: groups that are harder or easier than the rest beyond chance.
        contrasts: how many groups were tested for that.
        forms: the most confused surface forms.
        documents: those with most false positives and false negatives.
        calibration: of entity probabilities; empty if there are none.
    """

    predictions: Predictions
    totals: Counts
    scores: dict[str, Interval]
    accuracy: float
    mistakes: list[list[Mistake]]
    classes: list[ErrorClass]
    confusion: dict[tuple[str, str], int]
    slices: dict[str, list[Slice]]
    reasons: list[Reason]
    contrasts: int
    forms: list[ConfusedForm]
    documents: list[Slice]
    calibration: list[Bin]


def analyse(predictions: Predictions) -> Analysis:
    """Analyses the predictions of a split."""
    counts = slices.totals(predictions)
    mistakes = all_mistakes(predictions)
    groups = {
        name: slices.grouped(predictions, of) for name, of in slices.properties(predictions.train).items()
    }
    differing, contrasts = reasons(groups)
    documents = slices.worst_documents(predictions, LISTED) if predictions.has_documents else {}
    orders = {slices.TYPE: predictions.types, **slices.ORDERS, "document": list(documents)}
    sliced = slices.by_property({**groups, "document": documents}, orders)
    words = sum(len(row.words) for row in predictions.rows)
    return Analysis(
        predictions=predictions,
        totals=counts,
        scores=scores(counts),
        accuracy=sum(row.correct_words for row in predictions.rows) / words if words else 0.0,
        mistakes=mistakes,
        classes=error_classes(mistakes, counts),
        confusion=confusion(predictions, mistakes),
        slices={name: sliced[name] for name in groups},
        reasons=differing,
        contrasts=contrasts,
        forms=confused_forms(predictions, mistakes)[:LISTED],
        documents=sliced["document"],
        calibration=calibration(predictions),
    )


def scores(counts: Counts) -> dict[str, Interval]:
    """Micro precision, recall and F1 with intervals, from counts of each sentence; (S, 3)."""
    score_of = {
        "precision": lambda counts, empty: precision_recall(counts, empty)[0],
        "recall": lambda counts, empty: precision_recall(counts, empty)[1],
        "f1": f1,
    }
    groups = [Sparse.of(counts)]
    sums = resampled(groups)
    return {name: scored(groups, sums, score)[0] for name, score in score_of.items()}


def error_classes(mistakes: Mistakes, counts: Counts) -> list[ErrorClass]:
    """Classes of mistakes with counts and the F1 that fixing each would gain.

    Fixing a class means predicting gold in place of its mistakes, all else unchanged.
    """
    total = counts.sum(0)
    before = float(f1(total))
    by_kind: dict[str, list[Mistake]] = defaultdict(list)
    for mistake in (m for row_mistakes in mistakes for m in row_mistakes):
        by_kind[mistake.kind].append(mistake)
    classes = []
    for kind in CLASSES.keys() & by_kind.keys():
        spurious = sum(len(m.predicted) for m in by_kind[kind])
        missed = sum(len(m.gold) for m in by_kind[kind])
        after = float(f1(total + np.array([missed, missed - spurious, 0])))
        classes.append(ErrorClass(kind, len(by_kind[kind]), spurious, missed, after - before))
    return sorted(classes, key=lambda c: (-c.gain, c.kind))


def confusion(predictions: Predictions, mistakes: Mistakes) -> dict[tuple[str, str], int]:
    """Entities by gold and predicted type.

    Every gold entity is in a row of its type and every predicted one in a column of its own. In a
    mistake with as many gold as predicted entities these are paired in reading order; where one side
    has more, the rest is paired with nothing.
    """
    table: Counter[tuple[str, str]] = Counter()
    for row, row_mistakes in zip(predictions.rows, mistakes, strict=True):
        table.update((span.type, span.type) for span in row.correct)
        for mistake in row_mistakes:
            for index in range(max(len(mistake.gold), len(mistake.predicted))):
                gold, predicted = (
                    side[index].type if index < len(side) else NOTHING
                    for side in (mistake.gold, mistake.predicted)
                )
                table[gold, predicted] += 1
    return dict(table)


def unpaired(mistakes: Mistakes) -> tuple[Counter[str], Counter[str]]:
    """How many missed and how many spurious entities of `confusion` are in mistakes of which class."""
    missed: Counter[str] = Counter()
    spurious: Counter[str] = Counter()
    for mistake in (m for row_mistakes in mistakes for m in row_mistakes):
        surplus = len(mistake.gold) - len(mistake.predicted)
        (missed if surplus > 0 else spurious)[mistake.kind] += abs(surplus)
    return +missed, +spurious


def confused_forms(predictions: Predictions, mistakes: Mistakes) -> list[ConfusedForm]:
    """Surface forms predicted otherwise than annotated, the most frequent first, then the most probable."""
    forms: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    most_probable: dict[str, float] = defaultdict(float)
    for row, row_mistakes in zip(predictions.rows, mistakes, strict=True):
        for mistake in row_mistakes:
            gold = {row.text(span): span.type for span in mistake.gold}
            predicted = {row.text(span): span.type for span in mistake.predicted}
            for text in gold | predicted:
                forms[text][gold.get(text, NOTHING), predicted.get(text, NOTHING)] += 1
                most_probable[text] = max(most_probable[text], mistake.probability)
    confused = [ConfusedForm(*item) for item in forms.items()]
    return sorted(confused, key=lambda form: (-form.times, -most_probable[form.text], form.text))


def calibration(predictions: Predictions) -> list[Bin]:
    """How often predicted entities of similar probability are correct, in bins of a tenth."""
    return bins(
        (probability, span in gold)
        for row in predictions.rows
        for gold in [set(row.gold)]
        for span, probability in row.probabilities.items()
    )


def bins(predicted: Iterable[tuple[float, bool]]) -> list[Bin]:
    """Probabilities, and whether each prediction is correct, in bins of a tenth; empty bins are left out."""
    members: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for probability, correct in predicted:
        members[min(int(probability * BINS), BINS - 1)].append((probability, correct))
    return [
        Bin(
            index / BINS,
            (index + 1) / BINS,
            len(pairs),
            sum(probability for probability, _ in pairs) / len(pairs),
            sum(correct for _, correct in pairs) / len(pairs),
        )
        for index, pairs in enumerate(members)
        if pairs
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of probability and precision, weighted by bin size."""
    total = sum(b.size for b in bins)
    return sum(b.size * abs(b.probability - b.precision) for b in bins) / total if total else 0.0
