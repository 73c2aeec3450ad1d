"""Groups of entities that are missed more often, or less often, than the rest beyond chance."""

from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_lightning.analysis.resampling import Counts, Interval, resampled
from ner_lightning.analysis.slices import CORRECT, GOLD

LEAST = 10  # gold entities that a group, and the rest, must have
ROUNDS = 500  # enough for a standard error


class Reason(NamedTuple):
    """A group whose false-negative rate differs from that of the rest.

    Attributes:
        property: what the entities are grouped by, such as `entity length`.
        group: the group's name.
        size: gold entities in it.
        rate: the share of them that are false negatives.
        rate_elsewhere: the same share among all other gold entities.
        difference: `rate - rate_elsewhere`, with its interval.
    """

    property: str
    group: str
    size: int
    rate: float
    rate_elsewhere: float
    difference: Interval


def contrasts(by_property: Mapping[str, Mapping[str, Counts]]) -> list[tuple[str, str]]:
    """The (property, group) pairs in which both the group and the rest have enough gold entities."""
    pairs = []
    for name, groups in by_property.items():
        sizes = {group: int(counts[:, GOLD].sum()) for group, counts in groups.items()}
        total = sum(sizes.values())
        pairs += [(name, g) for g, size in sizes.items() if size >= LEAST and total - size >= LEAST]
    return pairs


def reasons(by_property: Mapping[str, Mapping[str, Counts]]) -> tuple[list[Reason], int]:
    """Groups whose entities are missed more or less often than the rest, beyond chance.

    The intervals come from resampled sentences and are simultaneous: they hold with 95% for all
    contrasts together (Bonferroni), so that testing many groups alone finds nothing.

    Args:
        by_property: for each property, for each group, counts. *Shape:* (S, 3)

    Returns:
        the groups whose interval excludes zero, largest difference first; the number of groups tested.
    """
    tested = contrasts(by_property)
    if not tested:
        return [], 0
    pairs = np.stack([_pair(by_property[name], group) for name, group in tested], axis=1)  # (S, K, 2, 2)
    rates = _rate(pairs.sum(0))
    drawn = _rate(resampled(pairs, rounds=ROUNDS))
    errors = np.std(drawn[..., 0] - drawn[..., 1], axis=0)
    z = NormalDist().inv_cdf(1 - 0.05 / (2 * len(tested)))
    differing = []
    for index, (name, group) in enumerate(tested):
        inside, outside = map(float, rates[index])
        difference, margin = inside - outside, z * float(errors[index])
        if margin and abs(difference) > margin:
            interval = Interval(difference, difference - margin, difference + margin)
            size = int(pairs[:, index, 0, 1].sum())
            differing.append(Reason(name, group, size, inside, outside, interval))
    return sorted(differing, key=lambda reason: -abs(reason.difference.value)), len(tested)


def _pair(groups: Mapping[str, Counts], group: str) -> Counts:
    """False negatives and gold entities of each sentence, in a group and in the rest; (S, 2, 2)."""
    rest = np.sum([counts for name, counts in groups.items() if name != group], axis=0)
    sides = [np.stack([c[:, GOLD] - c[:, CORRECT], c[:, GOLD]], axis=1) for c in (groups[group], rest)]
    return np.stack(sides, axis=1)


def _rate(pairs: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    rate: NDArray[np.float64] = pairs[..., 0] / np.maximum(pairs[..., 1], 1)
    return rate
