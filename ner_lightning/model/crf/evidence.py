"""Log-likelihood of evidence: what is known of the tags of each word, instead of the gold path.

Evidence gives each tag of each word a weight: 1 where it is possible, 0 where it is not. Its likelihood is
the expected product of the weights on a path's tags: the sum over all legal paths with weights, divided by
that without. Where each word has one possible tag, this is the likelihood of a path; where all have all,
it is 1. The gradient is in closed form: expected counts given the evidence, less those without it.
"""

import math
from typing import Any

import torch
from torch import Tensor

from ner_lightning.model.crf.gradient import PathScores, with_gradient
from ner_lightning.model.crf.inputs import check_inputs, transition_matrix
from ner_lightning.model.crf.sums import forward_backward, log_ratio


def _selected(informative: Tensor) -> Any:
    """The sentences that are computed: on a CPU those of which something is known; else all, not to wait."""
    return informative.nonzero().squeeze(1) if informative.device.type == "cpu" else slice(None)


def evidence_log_likelihood(
    emissions: Tensor, mask: Tensor, evidence: Tensor, start: Tensor, transitions: Tensor, end: Tensor
) -> Tensor:
    """Log-likelihood of evidence, differentiable once; `evidence` has the logarithms of its weights.

    Evidence that no legal path has gives -inf and adds nothing to any gradient; a sentence of which nothing
    is known gives exactly 0, without a gradient. On CUDA, nothing here synchronizes.

    *Shape:* `evidence` (B, W, C), 0 or below, anything on padding; the others as for `sums.posterior`; the
    result (B,).

    Raises:
        ValueError: shapes or types differ from that.
    """
    check_inputs(emissions, mask, len(start))
    if evidence.shape != emissions.shape:
        raise ValueError(f"expected evidence {tuple(emissions.shape)}, got {tuple(evidence.shape)}")
    found = PathScores(emissions, start, transitions, end)
    with torch.no_grad():
        matrix = transition_matrix(start, transitions, end)  # (K, K)
        log = evidence.to(emissions.dtype)
        informative = ((log != 0) & mask.unsqueeze(-1)).flatten(1).any(1)  # (B,)
        rows = _selected(informative)
        value = emissions.new_zeros(len(emissions))  # (B,)
        d_tags = torch.zeros_like(emissions)  # (B, W, C)
        d_transitions = matrix.new_zeros(len(emissions), *matrix.shape)  # (B, K, K)
        scores, words, weights = emissions[rows], mask[rows], log[rows]
        if len(scores):
            allowed = weights > -math.inf
            total = forward_backward(scores, words, matrix, backward=True)
            weighted = scores + weights.masked_fill(~allowed, 0)
            given = forward_backward(weighted, words, matrix, allowed, backward=True)
            value[rows] = log_ratio(given.log_partition, total.log_partition).to(value.dtype)
            d_tags[rows] = given.marginals - total.marginals
            d_transitions[rows] = given.transition_counts - total.transition_counts
        value = torch.where(informative, value, 0)
    return with_gradient(found, value, d_tags, d_transitions, ~informative | (value == -math.inf))
