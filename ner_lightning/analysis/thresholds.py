"""Precision and recall by threshold: what `predict --min_score` would give, from a split's candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ner_lightning.analysis.resampling import Counts
from ner_lightning.analysis.rows import Predictions, Row
from ner_lightning.data.overlap_resolution import overlapped
from ner_lightning.data.schemes import Span
from ner_lightning.metrics.from_counts import Scores, scores

THRESHOLDS = tuple(step / 20 for step in range(1, 20))  # from `rows.LEAST` to 0.95


@dataclass(frozen=True)
class ByThreshold:
    """The entities of at least each of `THRESHOLDS`; of those that share words, the most probable.

    Attributes:
        types: entity types.
        counts: correct, predicted and gold entities at each threshold. *Shape:* (thresholds, types, 3)
    """

    types: Sequence[str]
    counts: Counts

    def scores(self, type_: str | None = None) -> list[Scores]:
        """The scores at each threshold: of all types together, or of one."""
        counts = self.counts.sum(1) if type_ is None else self.counts[:, self.types.index(type_)]
        return [scores(row) for row in counts]

    def best(self, type_: str | None = None) -> int:
        """Index of the threshold with the highest F1, of equal ones the nearest to 0.5."""
        values = [each.f1 for each in self.scores(type_)]
        return max(range(len(values)), key=lambda index: (values[index], -abs(THRESHOLDS[index] - 0.5)))

    def best_of_types(self) -> dict[str, float]:
        """The best threshold of each type of which some threshold finds an entity."""
        best = {name: self.best(name) for name in self.types}
        return {name: THRESHOLDS[index] for name, index in best.items() if self.scores(name)[index].f1 > 0}


def by_threshold(predictions: Predictions) -> ByThreshold | None:
    """Counts entities at each threshold; None if the file has no candidates."""
    rows = predictions.rows
    if any(row.candidates is None for row in rows):
        return None
    types = predictions.types
    types += sorted({c.span.type for row in rows for c in row.candidates or ()} - set(types))
    counts = [counted(rows, dict.fromkeys(types, threshold)) for threshold in THRESHOLDS]
    return ByThreshold(types, np.stack(counts))


def counted(rows: Sequence[Row], least: Mapping[str, float]) -> Counts:
    """Correct, predicted and gold entities of each type.

    Args:
        rows: sentences with candidates.
        least: the threshold of each type that occurs in them.

    Returns:
        in the order of `least`. *Shape:* (types, 3)
    """
    index = {name: number for number, name in enumerate(least)}
    counts = np.zeros((len(index), 3), dtype=np.int64)
    for row in rows:
        gold = set(row.gold)
        for span in selected(row, least):
            counts[index[span.type]] += (span in gold, 1, 0)
        for span in gold:
            counts[index[span.type], 2] += 1
    return counts


def selected(row: Row, least: Mapping[str, float]) -> list[Span]:
    """The candidates of at least their type's threshold, without those that overlap a more probable one."""
    likely = [each for each in row.candidates or () if each.probability >= least[each.span.type]]
    left_out = overlapped([each.span[1:] for each in likely], [each.priority for each in likely])
    return [each.span for each, out in zip(likely, left_out, strict=True) if not out]
