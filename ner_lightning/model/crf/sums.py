"""Sums over all tag paths: log-likelihood with its gradient, log-partition, marginals.

A path is one tag per word. Its score is `start[first] + sum(emissions) + sum(transitions) +
end[last]` (Lafferty et al. 2001, section 3). A score of -inf makes paths illegal: they have
probability zero everywhere. Forward-backward runs both directions at once (Sutton and McCallum 2012,
section 4.1), and the log-likelihood has its gradient in closed form: gold counts minus expected counts
(section 5.1). Two recursions compute the same sums:

- *scaled*: products of probabilities in numpy, for CPU tensors whose scores span a range in which
  nothing can underflow. The range is checked, so this is exact, and it is the fast one.
- *log-space*: for everything else, and on other devices, where the check would synchronize.

One extra tag, OUTSIDE, stands before and after the sentence and on its padding. It makes start and
end scores transitions like the others, and sentences of all lengths chains of one length.

Shape legend: B sentences, W words, C tags, K = C + 1 tags with OUTSIDE as the last.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ner_lightning.model.crf.gradient import PathScores, with_gradient
from ner_lightning.model.crf.inputs import Posterior, check_inputs, transition_matrix
from ner_lightning.model.crf.log_space import log_posterior
from ner_lightning.model.crf.scaled import scaled_posterior
from ner_lightning.model.untraced import untraced

# Multiplications above which numpy's OpenBLAS uses all cores for one product, whatever torch's number
# of threads: on a busy machine that is many times slower than staying on one.
MAX_PRODUCT = 1 << 18


def forward_backward(
    emissions: Tensor, mask: Tensor, matrix: Tensor, allowed: Tensor | None = None, *, backward: bool
) -> Posterior:
    """The scaled recursion where it is exact, else the one in log space.

    *Shape:* `emissions` (B, W, C); `mask` (B, W); `matrix` (K, K); `allowed` (B, W, C), without which paths
    of other tags do not count. Without `backward` there are no marginals and no expected transitions, at half
    the cost.
    """
    if emissions.device.type != "cpu":
        return log_posterior(_only(emissions, allowed), mask, matrix, backward=backward)
    rows = MAX_PRODUCT // matrix.numel() or len(emissions)  # parts do not help where one row is too much
    split = (emissions,) if allowed is None else (emissions, allowed)
    parts = [
        untraced(scaled_posterior)(scores, words, matrix, *only, backward=backward)
        or log_posterior(_only(scores, *only), words, matrix, backward=backward)
        for words, scores, *only in zip(
            torch.split(mask, rows), *(torch.split(each, rows) for each in split), strict=True
        )
    ]
    return parts[0] if len(parts) == 1 else Posterior(*map(torch.cat, zip(*parts, strict=True)))


def _only(emissions: Tensor, allowed: Tensor | None = None) -> Tensor:
    return emissions if allowed is None else emissions.detach().masked_fill(~allowed, -math.inf)


@torch.no_grad()
def posterior(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Posterior:
    """Log-partition, marginals and expected transitions over all legal paths; no gradient.

    Args:
        emissions: score of each tag at each word, fp32 or fp64. *Shape:* (B, W, C)
        mask: prefix mask, True on words. *Shape:* (B, W)
        start: score of each tag at the first word, -inf where illegal, here and below. *Shape:* (C,)
        transitions: scores from (row) to (column). *Shape:* (C, C)
        end: score of each tag at the last word. *Shape:* (C,)
    """
    check_inputs(emissions, mask, len(start))
    return forward_backward(emissions, mask, transition_matrix(start, transitions, end), backward=True)


@torch.no_grad()
def log_partition(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """`posterior(...).log_partition` at half the cost. *Shape:* (B,), double."""
    check_inputs(emissions, mask, len(start))
    matrix = transition_matrix(start, transitions, end)
    return forward_backward(emissions, mask, matrix, backward=False).log_partition


def _gold(emissions: Tensor, mask: Tensor, matrix: Tensor, tags: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Score of the gold path (B,), its tags (B, W) with 0 on padding, its transitions (B, W + 1)."""
    outside = len(matrix) - 1
    path = F.pad(tags.masked_fill(~mask, outside), (1, 1), value=outside)  # (B, W + 2)
    transitions = path[:, :-1] * len(matrix) + path[:, 1:]  # flat indices in (K, K). (B, W + 1)
    words = tags.masked_fill(~mask, 0)  # (B, W)
    score = emissions.detach().gather(2, words.unsqueeze(-1)).squeeze(-1)  # (B, W)
    score = score.masked_fill(~mask, 0).sum(1, dtype=matrix.dtype)  # (B,)
    return score + matrix.flatten()[transitions].sum(1), words, transitions  # `take` has no kernel on MPS


def log_ratio(score: Tensor, log_partition: Tensor) -> Tensor:
    """`score - log_partition`, and -inf for an illegal score even if no path at all is legal."""
    return torch.where(score == -math.inf, score, score - log_partition)


def log_likelihood(
    emissions: Tensor, mask: Tensor, tags: Tensor, start: Tensor, transitions: Tensor, end: Tensor
) -> Tensor:
    """Log-probability of the gold path among all legal paths, differentiable once.

    An illegal gold path gives -inf and adds nothing to any gradient. On CUDA, nothing here synchronizes.

    *Shape:* `tags` (B, W), anything on padding; the others as for `posterior`; the result (B,).
    """
    check_inputs(emissions, mask, len(start), tags)
    scores = PathScores(emissions, start, transitions, end)
    backward = scores.need_gradient()
    with torch.no_grad():
        matrix = transition_matrix(start, transitions, end)  # (K, K)
        found = forward_backward(emissions, mask, matrix, backward=backward)
        gold, words, gold_transitions = _gold(emissions, mask, matrix, tags)
        value = log_ratio(gold, found.log_partition)
        if not backward:
            return value.to(emissions.dtype)
        # In place: expected counts become gold minus expected counts.
        marginals, counts = found.marginals, found.transition_counts
        marginals.neg_().scatter_add_(2, words.unsqueeze(-1), mask.unsqueeze(-1).to(marginals.dtype))
        ones = counts.new_ones(1, 1).expand_as(gold_transitions)  # (B, W + 1)
        counts.neg_().flatten(1).scatter_add_(1, gold_transitions, ones)
    return with_gradient(scores, value, marginals, counts, left_out=gold == -math.inf)
