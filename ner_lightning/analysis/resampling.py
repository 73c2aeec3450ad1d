"""Confidence intervals by resampling sentences, and a paired test of two runs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_lightning.metrics.from_counts import f1

Counts = NDArray[np.int64]
Score = Callable[[NDArray[Any], float], NDArray[np.float64]]  # of counts; what it is where they are zero
ROUNDS = 2000
_CELLS = 4_000_000  # rounds times sentences at a time: some 100 MB


class Sparse(NamedTuple):
    """Counts of the sentences that have any: of many groups of entities, each is in few sentences.

    Attributes:
        sentences: S, how many there are in all.
        indices: the sentences with counts, in order. *Shape:* (N,)
        counts: correct, predicted and gold entities of these. *Shape:* (N, 3)
    """

    sentences: int
    indices: NDArray[np.int64]
    counts: Counts

    @classmethod
    def of(cls, counts: Counts) -> "Sparse":
        """From the counts of every sentence. *Shape:* (S, 3)."""
        indices = np.flatnonzero(counts.any(axis=1))
        return cls(len(counts), indices, counts[indices])

    @property
    def total(self) -> Counts:
        """Sums over all sentences. *Shape:* (3,)."""
        total: Counts = self.counts.sum(0)
        return total

    def dense(self) -> Counts:
        """The counts of every sentence. *Shape:* (S, 3)."""
        counts = np.zeros((self.sentences, 3), dtype=np.int64)
        counts[self.indices] = self.counts
        return counts


class Interval(NamedTuple):
    """A value and the bounds of its 95% interval; equal bounds mean that resampling tells of none."""

    value: float
    low: float
    high: float


class PairedTest(NamedTuple):
    """A difference between two runs on the same sentences.

    Attributes:
        difference: F1 of the second run minus that of the first, with its 95% interval.
        p: the probability of a difference at least as large if both runs were equally good.
    """

    difference: Interval
    p: float


def resampled(groups: Sequence[Sparse], rounds: int = ROUNDS, seed: int = 0) -> NDArray[np.float64]:
    """Sums of counts over sentences drawn with replacement, the same draws for every group.

    Args:
        groups: K groups of entities in the same S sentences.
        rounds: number of draws R.
        seed: of the draws; groups with the same number of sentences get the same draws.

    Returns:
        sums. *Shape:* (R, K, 3)
    """
    # Importing it takes longer than all else here, and only reports need it.
    from scipy.sparse import csr_array

    sentences = groups[0].sentences
    flat = np.concatenate([group.counts for group in groups]).ravel().astype(np.float64)
    columns = np.concatenate([group.indices for group in groups]).repeat(3)
    rows = np.arange(len(groups)).repeat([3 * len(group.indices) for group in groups]) * 3
    rows += np.arange(len(flat)) % 3
    matrix = csr_array((flat, (rows, columns)), shape=(3 * len(groups), sentences))
    rng = np.random.default_rng(seed)
    sums = np.empty((rounds, 3 * len(groups)))
    for start, size in _chunks(rounds, sentences):
        drawn = rng.integers(sentences, size=(size, sentences))
        drawn += np.arange(size)[:, None] * sentences
        weights = np.bincount(drawn.ravel(), minlength=size * sentences).reshape(size, sentences)
        sums[start : start + size] = (matrix @ weights.T.astype(np.float64)).T
    return sums.reshape(rounds, len(groups), 3)


def _chunks(rounds: int, sentences: int) -> Iterator[tuple[int, int]]:
    """The first round and the number of rounds at a time: many sentences at once would fill the memory."""
    step = max(1, _CELLS // max(1, sentences))
    for start in range(0, rounds, step):
        yield start, min(step, rounds - start)


def intervals(groups: Sequence[Sparse], score: Score = f1, seed: int = 0) -> list[Interval]:
    """A score of each group over all sentences, and its 95% percentile interval.

    Args:
        groups: K groups of entities in the same sentences.
        score: from summed counts, over the last dimension.
        seed: of the draws.
    """
    return scored(groups, resampled(groups, seed=seed), score)


def scored(groups: Sequence[Sparse], sums: NDArray[np.float64], score: Score = f1) -> list[Interval]:
    """The same from sums that were drawn before.

    A draw without an entity of a group has no score of it: as 0 it would widen the interval of a rare group
    to 0, whatever its entities are.

    Args:
        groups: K groups of entities.
        sums: of them, see `resampled`. *Shape:* (R, K, 3)
        score: from summed counts, over the last dimension.
    """
    values = score(np.stack([group.total for group in groups]), 0.0)
    drawn = score(sums, np.nan)
    drawn = np.where(np.isnan(drawn).all(0), values, drawn)
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    return [Interval(*map(float, bounds)) for bounds in zip(values, low, high, strict=True)]


def paired_test(first: Counts, second: Counts) -> PairedTest:
    """Compares two runs on the same sentences; `paired_tests` of one group.

    Args:
        first: correct, predicted and gold entities of each sentence. *Shape:* (S, 3)
        second: the same of the other run.
    """
    return paired_tests([Sparse.of(first)], [Sparse.of(second)])[0]


def paired_tests(first: Sequence[Sparse], second: Sequence[Sparse]) -> list[PairedTest]:
    """Compares two runs on the same sentences, group by group.

    The p-value is that of approximate randomisation (Noreen 1989): each sentence's predictions are
    swapped between the runs or not, at random; p is the share of such permutations, the observed one
    included, with a difference in F1 at least as large as the observed one. Two-sided.

    Args:
        first: K groups of entities of one run.
        second: the same groups of the other run.
    """
    sums = resampled([*first, *second])
    drawn = f1(sums[:, len(first) :], np.nan) - f1(sums[:, : len(first)], np.nan)
    return [
        PairedTest(_bounded(float(f1(b.total) - f1(a.total)), differences), _p_value(a, b))
        for a, b, differences in zip(first, second, drawn.T, strict=True)
    ]


def _bounded(observed: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = (observed, observed) if np.isnan(drawn).all() else np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(observed, float(low), float(high))


def _p_value(first: Sparse, second: Sparse) -> float:
    """The share of permutations whose difference is at least as large as the observed one."""
    gains = _gains(first, second).astype(np.float64)
    rng = np.random.default_rng(0)
    moved = np.empty((ROUNDS, 3))
    for start, size in _chunks(ROUNDS, len(gains)):
        moved[start : start + size] = (rng.random((size, len(gains))) < 0.5) @ gains
    one, other = first.total + moved, second.total - moved
    observed = float(f1(second.total) - f1(first.total))
    extreme = np.abs(f1(other) - f1(one)) >= abs(observed) - 1e-12
    return (1 + int(extreme.sum())) / (ROUNDS + 1)


def _gains(first: Sparse, second: Sparse) -> Counts:
    """What the second run counts more, of each sentence in which the runs differ. *Shape:* (N, 3)."""
    indices = np.union1d(first.indices, second.indices)
    gains = np.zeros((len(indices), 3), dtype=np.int64)
    gains[np.searchsorted(indices, second.indices)] += second.counts
    gains[np.searchsorted(indices, first.indices)] -= first.counts
    return gains[gains.any(axis=1)]
