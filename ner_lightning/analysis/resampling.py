"""Confidence intervals by resampling sentences, and a paired test of two runs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_lightning.metrics.from_counts import f1

Counts = NDArray[np.int64]
Score = Callable[[NDArray[Any], float], NDArray[np.float64]]  # of counts; what it is where they are zero
ROUNDS = 2000
_CHUNK = 200  # rounds at a time: bounds memory to a few MB for a split of some thousand sentences


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


def resampled(counts: Counts, rounds: int = ROUNDS, seed: int = 0) -> NDArray[np.float64]:
    """Sums of counts over sentences drawn with replacement.

    Args:
        counts: of each sentence. *Shape:* (S, ...)
        rounds: number of draws R.
        seed: of the draws; arrays with the same number of sentences get the same draws.

    Returns:
        sums. *Shape:* (R, ...)
    """
    sentences = len(counts)
    flat = counts.reshape(sentences, -1).astype(np.float64)
    rng = np.random.default_rng(seed)
    sums = []
    for start in range(0, rounds, _CHUNK):
        size = min(_CHUNK, rounds - start)
        drawn = rng.integers(sentences, size=(size, sentences))
        indices = (drawn + np.arange(size)[:, None] * sentences).ravel()
        weights = np.bincount(indices, minlength=size * sentences).reshape(size, sentences)
        sums.append(weights.astype(np.float64) @ flat)
    return np.concatenate(sums).reshape(rounds, *counts.shape[1:])


def intervals(counts: Counts, score: Score = f1, seed: int = 0) -> list[Interval]:
    """A score of each group over all sentences, and its 95% percentile interval.

    A draw without an entity of a group has no score of it: as 0 it would widen the interval of a rare group
    to 0, whatever its entities are.

    Args:
        counts: of each sentence and group. *Shape:* (S, K, 3)
        score: from summed counts, over the last dimension.
        seed: of the draws.
    """
    values = score(counts.sum(0), 0.0)
    drawn = score(resampled(counts, seed=seed), np.nan)
    drawn = np.where(np.isnan(drawn).all(0), values, drawn)
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    return [Interval(*map(float, bounds)) for bounds in zip(values, low, high, strict=True)]


def paired_test(first: Counts, second: Counts) -> PairedTest:
    """Compares two runs on the same sentences.

    The p-value is that of approximate randomisation (Noreen 1989): each sentence's predictions are
    swapped between the runs or not, at random; p is the share of such permutations, the observed one
    included, with a difference in F1 at least as large as the observed one. Two-sided.

    Args:
        first: correct, predicted and gold entities of each sentence. *Shape:* (S, 3)
        second: the same of the other run.
    """
    observed = float(f1(second.sum(0)) - f1(first.sum(0)))
    drawn = f1(resampled(second), np.nan) - f1(resampled(first), np.nan)
    low, high = (observed, observed) if np.isnan(drawn).all() else np.nanpercentile(drawn, [2.5, 97.5])
    differing = np.any(first != second, axis=1)
    a, b = first[differing].astype(np.float64), second[differing].astype(np.float64)
    swapped = np.random.default_rng(0).random((ROUNDS, len(a))) < 0.5
    moved = swapped @ (b - a)
    one, other = first.sum(0) + moved, second.sum(0) - moved
    extreme = np.abs(f1(other) - f1(one)) >= abs(observed) - 1e-12
    return PairedTest(Interval(observed, float(low), float(high)), (1 + int(extreme.sum())) / (ROUNDS + 1))
