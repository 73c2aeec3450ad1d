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


def f1(counts: NDArray[Any]) -> NDArray[np.float64]:
    """F1, from 0 to 1; 0 where nothing is predicted or gold.

    Args:
        counts: numbers of correct, predicted and gold entities. *Shape:* (..., 3)

    Returns:
        *Shape:* (...)

    Example:
        >>> f1(np.array([[1, 2, 2], [0, 0, 0]])).tolist()
        [0.5, 0.0]
    """
    return _ratio(2.0 * counts[..., 0], counts[..., 1] + counts[..., 2])


def precision_recall(counts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall from the same counts. *Shape:* (...) each."""
    return _ratio(counts[..., 0], counts[..., 1]), _ratio(counts[..., 0], counts[..., 2])


def scores(counts: ArrayLike) -> Scores:
    """All three from one row of counts, which may be a CPU tensor. *Shape:* (3,).

    Example:
        >>> scores([1, 2, 4])
        Scores(precision=0.5, recall=0.25, f1=0.3333333333333333)
    """
    row = np.asarray(counts)
    return Scores(*map(float, (*precision_recall(row), f1(row))))


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    zeros = np.zeros(np.shape(whole))
    result: NDArray[np.float64] = np.divide(part, whole, out=zeros, where=whole > 0, dtype=np.float64)
    return result
