"""F1, precision and recall from counts: the only place where they are computed."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

COUNTED = ("correct", "predicted", "gold")  # the last dimension of counts


class Scores(NamedTuple):
    """Precision, recall and F1, each from 0 to 1; 0 where the denominator is 0."""

    precision: float
    recall: float
    f1: float


def f1(counts: NDArray[Any], empty: float = 0.0) -> NDArray[np.float64]:
    """F1, from 0 to 1.

    Args:
        counts: numbers of correct, predicted and gold entities. *Shape:* (..., 3)
        empty: what it is where nothing is predicted or gold.

    Returns:
        *Shape:* (...)

    Example:
        >>> f1(np.array([[1, 2, 2], [0, 0, 0]])).tolist()
        [0.5, 0.0]
    """
    return _ratio(2.0 * counts[..., 0], counts[..., 1] + counts[..., 2], empty)


def precision_recall(
    counts: NDArray[Any], empty: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall from the same arguments. *Shape:* (...) each."""
    return _ratio(counts[..., 0], counts[..., 1], empty), _ratio(counts[..., 0], counts[..., 2], empty)


def scores(counts: ArrayLike) -> Scores:
    """All three from one row of counts, which may be a CPU tensor. *Shape:* (3,).

    Example:
        >>> scores([1, 2, 4])
        Scores(precision=0.5, recall=0.25, f1=0.3333333333333333)
    """
    row = np.asarray(counts)
    return Scores(*map(float, (*precision_recall(row), f1(row))))


def _ratio(part: NDArray[Any], whole: NDArray[Any], empty: float) -> NDArray[np.float64]:
    values = np.full(np.shape(whole), empty)
    result: NDArray[np.float64] = np.divide(part, whole, out=values, where=whole > 0, dtype=np.float64)
    return result
