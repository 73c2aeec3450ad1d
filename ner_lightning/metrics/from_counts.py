"""F1, precision and recall from counts: the only place where they are computed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def f1(counts: NDArray[Any]) -> NDArray[np.float64]:
    """F1 from counts of correct, predicted and gold entities in the last dimension; 0 where all are."""
    both = counts[..., 1] + counts[..., 2]
    value: NDArray[np.float64] = np.divide(
        2.0 * counts[..., 0], both, out=np.zeros(both.shape), where=both > 0
    )
    return value


def precision_recall(counts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall from the same counts."""
    correct = counts[..., 0].astype(np.float64)
    precision, recall = (
        np.divide(correct, total, out=np.zeros(total.shape), where=total > 0)
        for total in (counts[..., 1], counts[..., 2])
    )
    return precision, recall
