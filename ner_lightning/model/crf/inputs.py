"""What all recursions over paths share: checks, the transition matrix, the result."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ner_lightning.metrics.float64 import has_float64

Doubles = NDArray[np.float64]
_MOST_SCRATCH = 1 << 22  # doubles: 32 MiB
_EDGE_CHUNK = 1 << 16  # doubles: what stays in a CPU's cache


class Posterior(NamedTuple):
    """What the sums say about all legal paths of each sentence.

    *Shape:* `log_partition` (B,), double; `nodes` (B, W, C), the probability of each tag at each
    word, 0 on padding; `edges` (B, K, K), double, how often each transition (from, to) is expected,
    where the entry from OUTSIDE to OUTSIDE means nothing.
    """

    log_partition: Tensor
    nodes: Tensor
    edges: Tensor


def check_inputs(emissions: Tensor, mask: Tensor, num_tags: int, tags: Tensor | None = None) -> None:
    """Raise ValueError for shapes, types, masks and tags that no recursion here can take.

    Values are checked on CPU only, since on other devices that would wait for the device.

    *Shape:* `emissions` (B, W, C); `mask` and `tags` (B, W).
    """
    shape = tuple(emissions.shape)
    if len(shape) != 3 or 0 in shape or shape[2] != num_tags:
        raise ValueError(f"expected emissions (B, W, {num_tags}) with B and W above 0, got {shape}")
    for name, tensor, dtype in (("mask", mask, torch.bool), ("tags", tags, torch.long)):
        if tensor is not None and (tensor.shape != shape[:2] or tensor.dtype != dtype):
            got = f"{tensor.dtype} {tuple(tensor.shape)}"
            raise ValueError(f"expected {name} to be {dtype} {shape[:2]}, got {got}")
    if mask.device.type != "cpu":
        return
    words = mask.numpy()  # (B, W)
    if not words[:, 0].all() or (words[:, 1:] > words[:, :-1]).any():
        raise ValueError("expected each row of mask to be one or more True, then only False")
    if tags is not None and tags.device.type == "cpu":
        used = tags.numpy()[words]  # (words of all sentences,)
        if used.min() < 0 or used.max() >= num_tags:
            raise ValueError(f"expected tags 0 to {num_tags - 1}, got {used.min()} to {used.max()}")


def transition_matrix(start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """All transition scores (from, to) in the precision of the sums. *Shape:* (K, K)."""
    # Doubles, because the sum over a sentence can be so large that a float rounds the differences
    # between paths away.
    dtype = torch.float64 if has_float64(start.device) else torch.float32
    matrix = start.new_zeros(len(start) + 1, len(start) + 1, dtype=dtype)  # (K, K)
    matrix[:-1, :-1] = transitions.detach()
    matrix[-1, :-1] = start.detach()
    matrix[:-1, -1] = end.detach()
    return matrix
