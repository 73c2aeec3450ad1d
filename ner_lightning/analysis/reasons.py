"""Groups of entities that are missed more often, or less often, than the rest beyond chance."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_lightning.analysis.resampling import Counts, Interval, Sparse
from ner_lightning.analysis.slices import CORRECT, GOLD

LEAST = 10  # gold entities that a group, and the rest, must have
LEVEL = 0.05  # the probability of any false reason, over all groups


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


class _Rate(NamedTuple):
    """A false-negative rate of `size` entities, and the bounds of its interval."""

    size: int
    value: float
    low: float
    high: float


def contrasts(by_property: Mapping[str, Mapping[str, Sparse]]) -> list[tuple[str, str]]:
    """The (property, group) pairs in which both the group and the rest have enough gold entities."""
    pairs = []
    for name, groups in by_property.items():
        sizes = {group: int(counts.total[GOLD]) for group, counts in groups.items()}
        total = sum(sizes.values())
        pairs += [(name, g) for g, size in sizes.items() if size >= LEAST and total - size >= LEAST]
    return pairs


def reasons(by_property: Mapping[str, Mapping[str, Sparse]]) -> tuple[list[Reason], int]:
    """Groups whose entities are missed more or less often than the rest, beyond chance.

    The intervals are simultaneous: they hold with 95% for all contrasts together (Bonferroni), so that
    testing many groups alone finds nothing. Each rate has the exact interval of a binomial one, with counts
    divided by its design effect (Korn and Graubard 1998), so it holds for few entities and for none missed;
    the interval of a difference is made of those of its two rates (Zou and Donner 2008).

    Args:
        by_property: for each property, counts of each group.

    Returns:
        the groups whose interval excludes zero, largest difference first; the number of groups tested.
    """
    tested = contrasts(by_property)
    whole = {name: _whole(by_property[name]) for name in dict(tested)}
    least = {name: design_effect(counts) for name, counts in whole.items()}
    level = LEVEL / max(1, len(tested))
    differing = []
    for name, group in tested:
        counts = by_property[name][group]
        rest = whole[name].copy()
        rest[counts.indices] -= counts.counts
        inside, outside = (_rate(part, least[name], level) for part in (counts.counts, rest))
        difference = _difference(inside, outside)
        if difference.low > 0 or difference.high < 0:
            differing.append(Reason(name, group, inside.size, inside.value, outside.value, difference))
    return sorted(differing, key=lambda reason: -abs(reason.difference.value)), len(tested)


def _whole(groups: Mapping[str, Sparse]) -> Counts:
    """The counts of all groups together. *Shape:* (S, 3)."""
    whole = np.zeros((next(iter(groups.values())).sentences, 3), dtype=np.int64)
    for counts in groups.values():
        whole[counts.indices] += counts.counts
    return whole


def design_effect(counts: Counts) -> float:
    """How many times the variance of a false-negative rate exceeds that of independent entities; at least 1.

    It is above 1 where false negatives cluster in sentences. The variance is that of a ratio over sentences
    drawn with replacement, to first order.

    Args:
        counts: of each sentence. *Shape:* (S, 3)
    """
    gold, missed = _gold_and_missed(counts)
    rate = missed.sum() / max(gold.sum(), 1)
    independent = gold.sum() * rate * (1 - rate)
    if not independent:
        return 1.0
    return max(1.0, float(((missed - rate * gold) ** 2).sum() / independent))


def _rate(counts: Counts, least: float, level: float) -> _Rate:
    """The rate with its interval; few entities tell little of their design effect, so it is bounded."""
    # Importing it takes longer than all else here, and only reports need it.
    from scipy.special import betaincinv

    gold, missed = (int(part.sum()) for part in _gold_and_missed(counts))
    effect = max(least, design_effect(counts))
    n, x = gold / effect, missed / effect
    low = float(betaincinv(x, n - x + 1, level / 2)) if missed else 0.0
    high = float(betaincinv(x + 1, n - x, 1 - level / 2)) if missed < gold else 1.0
    return _Rate(gold, missed / gold, low, high)


def _difference(inside: _Rate, outside: _Rate) -> Interval:
    value = inside.value - outside.value
    low = value - math.hypot(inside.value - inside.low, outside.high - outside.value)
    high = value + math.hypot(inside.high - inside.value, outside.value - outside.low)
    return Interval(value, low, high)


def _gold_and_missed(counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return counts[:, GOLD], counts[:, GOLD] - counts[:, CORRECT]
