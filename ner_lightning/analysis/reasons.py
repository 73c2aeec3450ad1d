"""Why entities are lost: groups in which that happens more often, or less often, than elsewhere."""

from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_lightning.analysis.resampling import Counts, Interval, resampled
from ner_lightning.analysis.slices import CORRECT, GOLD

LEAST = 10  # annotated entities that a group, and the rest, must have
ROUNDS = 500  # enough for a standard error


class Reason(NamedTuple):
    """A group of annotated entities that are lost more often than the rest, or less often.

    Attributes:
        property: what the group is told by, such as `entity length`.
        group: the group's name.
        size: annotated entities in it.
        lost: the share of them that was not predicted exactly.
        others: the same share among all other annotated entities.
        difference: of the two shares, with its interval.
    """

    property: str
    group: str
    size: int
    lost: float
    others: float
    difference: Interval


def contrasts(by_property: Mapping[str, Mapping[str, Counts]]) -> list[tuple[str, str]]:
    """Which groups can be contrasted with the rest: both hold enough annotated entities."""
    found = []
    for name, groups in by_property.items():
        sizes = {group: int(counts[:, GOLD].sum()) for group, counts in groups.items()}
        total = sum(sizes.values())
        found += [(name, g) for g, size in sizes.items() if size >= LEAST and total - size >= LEAST]
    return found


def reasons(by_property: Mapping[str, Mapping[str, Counts]]) -> tuple[list[Reason], int]:
    """Groups whose entities are lost more or less often than the rest, beyond chance.

    The intervals come from resampled sentences and are simultaneous: they hold with 95% for all
    contrasts together (Bonferroni), so that looking at many finds nothing by that alone.

    Args:
        by_property: for each property, for each group, counts. *Shape:* (S, 3)

    Returns:
        those whose interval excludes zero, the largest difference first; how many were looked at.
    """
    looked_at = contrasts(by_property)
    if not looked_at:
        return [], 0
    pairs = np.stack([_pair(by_property[name], group) for name, group in looked_at], axis=1)  # (S, K, 2, 2)
    shares = _share(pairs.sum(0))
    drawn = _share(resampled(pairs, rounds=ROUNDS))
    spreads = np.std(drawn[..., 0] - drawn[..., 1], axis=0)
    z = NormalDist().inv_cdf(1 - 0.05 / (2 * len(looked_at)))
    found = []
    for place, (name, group) in enumerate(looked_at):
        inside, outside = map(float, shares[place])
        difference, reach = inside - outside, z * float(spreads[place])
        if reach and abs(difference) > reach:
            bounds = Interval(difference, difference - reach, difference + reach)
            size = int(pairs[:, place, 0, 1].sum())
            found.append(Reason(name, group, size, inside, outside, bounds))
    return sorted(found, key=lambda reason: -abs(reason.difference.value)), len(looked_at)


def _pair(groups: Mapping[str, Counts], group: str) -> Counts:
    """Lost and all annotated entities of each sentence, in a group and in the rest; (S, 2, 2)."""
    rest = np.sum([counts for name, counts in groups.items() if name != group], axis=0)
    sides = [np.stack([c[:, GOLD] - c[:, CORRECT], c[:, GOLD]], axis=1) for c in (groups[group], rest)]
    return np.stack(sides, axis=1)


def _share(pairs: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = pairs[..., 0] / np.maximum(pairs[..., 1], 1)
    return share
