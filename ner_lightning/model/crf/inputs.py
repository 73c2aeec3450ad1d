"""What the CRF's recursions share: input checks, the transition matrix, their result."""

from typing import NamedTuple

import torch
from torch import Tensor

from ner_lightning.metrics.float64 import has_float64

MAX_SCRATCH = 1 << 22  # doubles (32 MiB) that a recursion may use as working memory


class Posterior(NamedTuple):
    """Sums over all legal paths of each sentence.

    Attributes:
        log_partition: in double precision. *Shape:* (B,)
        marginals: probability of each tag at each word, 0 on padding. *Shape:* (B, W, C)
        transition_counts: expected number of each transition (from, to), in double precision; 0 from
            OUTSIDE to OUTSIDE, whatever the padding. *Shape:* (B, K, K)
    """

    log_partition: Tensor
    marginals: Tensor
    transition_counts: Tensor


def check_inputs(emissions: Tensor, mask: Tensor, num_tags: int, tags: Tensor | None = None) -> None:
    """Checks shapes and types, and the values of CPU tensors: on other devices that would synchronize.

    *Shape:* `emissions` (B, W, C); `mask` and `tags` (B, W).

    Raises:
        ValueError: an input has another shape, type or value than the recursions expect.
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
    """Scores of all transitions (from, to), those from and to OUTSIDE included. *Shape:* (K, K)."""
    # In double precision: a sentence's sum can be so large that fp32 rounds the differences between
    # paths away.
    dtype = torch.float64 if has_float64(start.device) else torch.float32
    matrix = start.new_zeros(len(start) + 1, len(start) + 1, dtype=dtype)  # (K, K)
    matrix[:-1, :-1] = transitions.detach()
    matrix[-1, :-1] = start.detach()
    matrix[:-1, -1] = end.detach()
    return matrix
