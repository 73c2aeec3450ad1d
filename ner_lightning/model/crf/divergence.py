"""Kullback-Leibler divergence from one distribution over tag sequences to a CRF's, exact over all paths.

Scores of a CRF's paths are sums over words and transitions, so their mean under any distribution p follows
from p's expected counts of both. Hence, over all sequences y of a sentence,

    KL(p || q) = sum_y p(y) (log p(y) - log q(y)) = log Z_q - mean score of q under p - entropy of p

(Wang et al. 2021, Structural Knowledge Distillation, the case of two linear chains). Its gradient with
respect to q's scores is q's expected counts less p's.
"""

import math

import torch
from torch import Tensor

from ner_lightning.model.crf.gradient import PathScores, with_gradient
from ner_lightning.model.crf.inputs import Posterior, check_inputs, transition_matrix
from ner_lightning.model.crf.sums import forward_backward


def mean_score(posterior: Posterior, emissions: Tensor, mask: Tensor, matrix: Tensor) -> Tensor:
    """The mean score of a path under a distribution; -inf if it has a path that the scores exclude.

    *Shape:* `emissions` (B, W, C); `mask` (B, W); `matrix` (K, K); the result (B,), as precise as `matrix`.
    """
    words = emissions.detach().to(matrix.dtype).masked_fill(~mask.unsqueeze(-1), 0)  # (B, W, C)
    counts = posterior.transition_counts.to(matrix.dtype)  # (B, K, K)
    return _weighted(posterior.marginals.to(matrix.dtype), words) + _weighted(counts, matrix)


def _weighted(weights: Tensor, scores: Tensor) -> Tensor:
    """Sums weighted scores, 0 times -inf being 0. *Shape:* (B, ...), (...) to (B,)."""
    return torch.where(weights > 0, weights * scores, 0).flatten(1).sum(1)


@torch.no_grad()
def entropy(posterior: Posterior, emissions: Tensor, mask: Tensor, matrix: Tensor) -> Tensor:
    """The entropy, in nats, of the distribution over paths whose sums `posterior` are.

    *Shape:* as for `mean_score`.
    """
    return posterior.log_partition - mean_score(posterior, emissions, mask, matrix)


def divergence(
    emissions: Tensor,
    mask: Tensor,
    scores: tuple[Tensor, Tensor, Tensor],
    teacher: Posterior,
    teacher_entropy: Tensor,
) -> Tensor:
    """The divergence from a teacher's distribution to that of the scores, differentiable once.

    Where the teacher has a path that the scores exclude, it is infinite and adds nothing to any gradient. On
    CUDA, nothing here synchronizes.

    Args:
        emissions: score of each tag at each word, fp32 or fp64. *Shape:* (B, W, C)
        mask: prefix mask, True on words. *Shape:* (B, W)
        scores: start (C,), transitions (C, C) and end (C,), -inf where illegal.
        teacher: its sums; `log_partition` is not used.
        teacher_entropy: in nats. *Shape:* (B,)

    Returns:
        *Shape:* (B,), at least 0 but for rounding.

    Raises:
        ValueError: shapes or types differ from that.
    """
    check_inputs(emissions, mask, len(scores[0]))
    tags = len(scores[0]) + 1
    expected = (emissions.shape, (len(emissions), tags, tags))
    got = (teacher.marginals.shape, teacher.transition_counts.shape)
    if got != expected:
        raise ValueError(f"expected a teacher of shapes {expected}, got {got}")
    with torch.no_grad():
        matrix = transition_matrix(*scores)  # (K, K)
        own = forward_backward(emissions, mask, matrix, backward=True)
        mean = mean_score(teacher, emissions, mask, matrix)  # (B,)
        value = own.log_partition - mean - teacher_entropy.to(mean.dtype)
        d_tags = own.marginals - teacher.marginals.to(own.marginals.dtype)
        d_transitions = own.transition_counts - teacher.transition_counts.to(own.transition_counts.dtype)
    return with_gradient(
        PathScores(emissions, *scores), value, d_tags, d_transitions, left_out=mean == -math.inf
    )
