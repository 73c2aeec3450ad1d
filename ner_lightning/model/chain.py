"""Sums over all paths of a linear chain: log-likelihood with its gradient, marginals, segments.

A path is one tag per word. Its score is `start[first] + sum(emissions) + sum(transitions) +
end[last]` (Lafferty et al. 2001, section 3). A score of -inf makes a path illegal: it then has
probability zero everywhere. Sums run forward and backward over the sentence at once (Sutton and
McCallum 2012, section 4.1), and the gradient of the log-likelihood is in closed form: gold counts
minus expected counts (section 5.1.1). Two recursions compute the same sums:

- *scaled*: products of probabilities in numpy, for CPU tensors whose scores span a range in which
  nothing can underflow. The range is checked, so this is exact, and it is the fast one.
- *log-space*: for everything else, and on other devices, where the check would wait for them.

One extra tag, OUTSIDE, stands before and after the sentence and on its padding. It turns start and
end scores into transitions, and sentences of all lengths into equally long chains.

Shape legend: B sentences, W words, C tags, K = C + 1 tags with OUTSIDE (the last), S segments.
"""

import math
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

Doubles = NDArray[np.float64]

# Messages of the scaled recursion stay within exp(-230) .. exp(230): the product of three of them,
# the most that is ever formed, is still a normal double.
_LOG_RANGE = 230.0
_TINY = 1e-300
_MOST_MIXING_STEPS = 8
_MOST_SCRATCH = 1 << 22  # doubles, 32 MiB
_EDGE_CHUNK = 32


class Posterior(NamedTuple):
    """What the recursions know about all legal paths.

    *Shape:* `log_partition` (B,), double; `nodes` (B, W, C), the probability of each tag at each
    word, 0 on padding; `edges` (B, K, K), the expected number of each transition (from, to), double;
    its entry from OUTSIDE to OUTSIDE means nothing.
    """

    log_partition: Tensor
    nodes: Tensor
    edges: Tensor


class Segments(NamedTuple):
    """Stretches of words with their tags: `first_tag`, then `inner_tag` up to `end` (exclusive).

    `not_next` is the tag that would continue the segment at `end`; -1 allows every tag there.

    *Shape:* each (S,), long.
    """

    sentence: Tensor
    start: Tensor
    end: Tensor
    first_tag: Tensor
    inner_tag: Tensor
    not_next: Tensor


class _Scratch(threading.local):
    """Memory kept between calls, since fresh pages cost more time than the arithmetic done on them."""

    def __init__(self) -> None:
        self.memory: Doubles = np.empty(0)

    def take(self, *shapes: tuple[int, ...]) -> list[Doubles]:
        """Arrays of the given shapes with arbitrary content, valid until the next call."""
        sizes = [math.prod(shape) for shape in shapes]
        if sum(sizes) > _MOST_SCRATCH:
            return [np.empty(shape) for shape in shapes]
        if sum(sizes) > self.memory.size:
            self.memory = np.empty(sum(sizes))
        parts = np.split(self.memory[: sum(sizes)], np.cumsum(sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


scratch = _Scratch()


def check_inputs(emissions: Tensor, mask: Tensor, num_tags: int, tags: Tensor | None = None) -> None:
    """Raise ValueError for shapes, types, masks and tags that the recursions cannot take.

    Values are looked at on CPU only: on other devices that would wait for the device.

    *Shape:* `emissions` (B, W, C); `mask` and `tags` (B, W).
    """
    if emissions.dim() != 3 or 0 in emissions.shape or emissions.shape[2] != num_tags:
        raise ValueError(
            f"expected emissions of shape (B, W, {num_tags}) with at least one sentence and one "
            f"word, got {tuple(emissions.shape)}"
        )
    if mask.shape != emissions.shape[:2] or mask.dtype != torch.bool:
        raise ValueError(
            f"expected a bool mask of shape {tuple(emissions.shape[:2])}, "
            f"got {mask.dtype} of shape {tuple(mask.shape)}"
        )
    if mask.device.type == "cpu":
        words = mask.numpy()  # (B, W)
        if not words[:, 0].all():
            raise ValueError("expected at least one word in every sentence: mask[:, 0] is not all True")
        if (words[:, 1:] > words[:, :-1]).any():
            raise ValueError("expected a prefix mask: a row of it has a word after padding")
    if tags is None:
        return
    if tags.shape != mask.shape or tags.dtype != torch.long:
        raise ValueError(
            f"expected long tags of shape {tuple(mask.shape)}, "
            f"got {tags.dtype} of shape {tuple(tags.shape)}"
        )
    if mask.device.type == tags.device.type == "cpu":
        used = tags.numpy()[words]  # (words in all,)
        if used.min() < 0 or used.max() >= num_tags:
            raise ValueError(f"expected tags from 0 to {num_tags - 1}, got {used.min()} to {used.max()}")


def _matrix(start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """All transition scores between K tags, from (row) to (column), in the precision of the sums."""
    # MPS has no doubles. Elsewhere they are exact for scores whose sums a float would round away.
    dtype = torch.float32 if start.device.type == "mps" else torch.float64
    matrix = start.new_zeros(len(start) + 1, len(start) + 1, dtype=dtype)  # (K, K)
    matrix[:-1, :-1] = transitions
    matrix[-1, :-1] = start
    matrix[:-1, -1] = end
    return matrix.detach()


def _mixing_steps(legal: NDArray[np.bool_]) -> int | None:
    """The least k such that each tag reaches each tag in exactly k transitions, None if too many.

    *Shape:* `legal` (C, C), from, to.
    """
    step = legal.astype(np.float32)
    reach = step
    for steps in range(1, _MOST_MIXING_STEPS + 1):
        if reach.all():
            return steps
        reach = (reach @ step > 0).astype(np.float32)
    return None


def _rescaling_period(matrix: Doubles, emission_range: float) -> int:
    """After how many words the scaled recursion must be rescaled; 0 if it cannot be exact.

    Say each tag reaches each tag in k legal transitions. Then k words after the best message, every
    message that is not structurally zero is within k steps of it: exp(-k * r), where r is the
    range of scores that one step adds, plus log K for what sums can gain. Without rescaling, m
    more words add m * r.
    """
    finite = matrix[np.isfinite(matrix)]
    reach = finite.max() - finite.min() + emission_range + math.log(len(matrix))
    mixing = _mixing_steps(matrix[:-1, :-1] > -np.inf)
    if mixing is None or not reach < _LOG_RANGE:  # `not <` catches NaN too
        return 0
    return max(0, int(_LOG_RANGE / reach) - mixing - 1) if reach else len(matrix)
