"""Sums over all paths of a linear chain: log-likelihood with its gradient, marginals.

A path is one tag per word. Its score is `start[first] + sum(emissions) + sum(transitions) +
end[last]` (Lafferty et al. 2001, section 3). A score of -inf makes paths illegal: they have
probability zero everywhere. Sums run forward and backward over the sentence at once (Sutton and
McCallum 2012, section 4.1), and the log-likelihood has its gradient in closed form: gold counts
minus expected counts (section 5.1). Two recursions compute the same sums:

- *scaled*: products of probabilities in numpy, for CPU tensors whose scores span a range in which
  nothing can underflow. The range is checked, so this is exact, and it is the fast one.
- *log-space*: for everything else, and on other devices, where the check would wait for them.

One extra tag, OUTSIDE, stands before and after the sentence and on its padding. It makes start and
end scores transitions like the others, and sentences of all lengths chains of one length.

Shape legend: B sentences, W words, C tags, K = C + 1 tags with OUTSIDE as the last.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ner_lightning.model.crf.inputs import Posterior, check_inputs, transition_matrix
from ner_lightning.model.crf.log_space import log_posterior
from ner_lightning.model.crf.scaled import scaled_posterior

# Multiplications above which numpy's OpenBLAS takes all cores for one product, whatever torch's number
# of threads: on a busy machine that is many times slower than staying on one.
_MOST_PRODUCT = 1 << 18


def _posterior(emissions: Tensor, mask: Tensor, matrix: Tensor, *, both: bool) -> Posterior:
    """The scaled recursion where it is exact, else log space."""
    if emissions.device.type != "cpu":
        return log_posterior(emissions, mask, matrix, both=both)
    rows = max(1, _MOST_PRODUCT // matrix.numel())
    parts = [
        scaled_posterior(scores, words, matrix, both=both) or log_posterior(scores, words, matrix, both=both)
        for scores, words in zip(torch.split(emissions, rows), torch.split(mask, rows), strict=True)
    ]
    return parts[0] if len(parts) == 1 else Posterior(*map(torch.cat, zip(*parts, strict=True)))


@torch.no_grad()
def posterior(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Posterior:
    """Log-partition, marginals and expected transitions over all legal paths; no gradient.

    *Shape:* `emissions` (B, W, C), float or double; `mask` (B, W), True on words, a prefix of each
    row; `start` (C,), `transitions` (C, C) from (row) to (column), and `end` (C,), -inf if illegal.
    """
    check_inputs(emissions, mask, len(start))
    return _posterior(emissions, mask, transition_matrix(start, transitions, end), both=True)


@torch.no_grad()
def log_partition(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """The first part of `posterior`, at half its cost. *Shape:* (B,), double."""
    check_inputs(emissions, mask, len(start))
    matrix = transition_matrix(start, transitions, end)
    return _posterior(emissions, mask, matrix, both=False).log_partition


def _gold(emissions: Tensor, mask: Tensor, matrix: Tensor, tags: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Score of the gold path (B,), its tags (B, W) with 0 on padding, its edges (B, W + 1)."""
    outside = len(matrix) - 1
    path = F.pad(tags.masked_fill(~mask, outside), (1, 1), value=outside)  # (B, W + 2)
    edges = path[:, :-1] * len(matrix) + path[:, 1:]  # (B, W + 1)
    words = tags.masked_fill(~mask, 0)  # (B, W)
    score = emissions.detach().gather(2, words.unsqueeze(-1)).squeeze(-1)  # (B, W)
    score = score.masked_fill(~mask, 0).sum(1, dtype=matrix.dtype)  # (B,)
    return score + matrix.take(edges).sum(1), words, edges


def log_ratio(score: Tensor, log_partition: Tensor) -> Tensor:
    """`score - log_partition`, and -inf for what is illegal even if no path at all is legal."""
    return torch.where(score == -math.inf, score, score - log_partition)


class _LogLikelihood(torch.autograd.Function):
    """Log-likelihood whose gradient, gold minus expected counts, is made along with the value."""

    @staticmethod
    def forward(
        ctx: Any,
        emissions: Tensor,
        start: Tensor,
        transitions: Tensor,
        end: Tensor,
        mask: Tensor,
        tags: Tensor,
    ) -> Tensor:
        matrix = transition_matrix(start, transitions, end)
        log_partition, nodes, edges = _posterior(emissions, mask, matrix, both=True)
        gold, words, gold_edges = _gold(emissions, mask, matrix, tags)
        nodes.neg_().scatter_add_(2, words.unsqueeze(-1), mask.unsqueeze(-1).to(nodes.dtype))
        ones = edges.new_ones(1, 1).expand_as(gold_edges)
        edges.neg_().flatten(1).scatter_add_(1, gold_edges, ones)
        ctx.save_for_backward(nodes, edges, gold == -math.inf)
        return log_ratio(gold, log_partition).to(emissions.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        nodes, edges, illegal = ctx.saved_tensors
        grad = grad.masked_fill(illegal, 0)  # (B,)
        d_emissions = nodes * grad.view(-1, 1, 1) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:4]):
            return d_emissions, None, None, None, None, None
        d_matrix = (grad.to(edges.dtype) @ edges.flatten(1)).view(edges.shape[1:]).to(grad.dtype)
        return d_emissions, d_matrix[-1, :-1], d_matrix[:-1, :-1], d_matrix[:-1, -1], None, None


def log_likelihood(
    emissions: Tensor,
    mask: Tensor,
    tags: Tensor,
    start: Tensor,
    transitions: Tensor,
    end: Tensor,
) -> Tensor:
    """Log-probability of the gold path among all legal paths, differentiable once.

    An illegal gold path gives -inf and adds nothing to any gradient. Nothing here waits for a CUDA
    device.

    *Shape:* `tags` (B, W), anything on padding; the others as for `posterior`; the result (B,).
    """
    check_inputs(emissions, mask, len(start), tags)
    inputs = (emissions, start, transitions, end)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        result: Tensor = _LogLikelihood.apply(*inputs, mask, tags)  # type: ignore[no-untyped-call]
        return result
    matrix = transition_matrix(start, transitions, end)
    log_partition = _posterior(emissions, mask, matrix, both=False).log_partition
    gold, _, _ = _gold(emissions, mask, matrix, tags)
    return log_ratio(gold, log_partition).to(emissions.dtype)
