"""Sums over paths in log space: for any scores, on any device."""

import math

import torch
from torch import Tensor

from ner_lightning.model.crf.inputs import _EDGE_CHUNK, _MOST_SCRATCH, Posterior


def log_messages(
    emissions: Tensor, mask: Tensor, matrix: Tensor, *, both: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The recursion of `scaled_posterior` in log space: log-partition, messages forward and backward.

    *Shape:* (B,); (W + 1, B, K), which include the word itself; the second is empty without `both`.
    """
    b, w, c = emissions.shape
    real = mask.t().unsqueeze(-1)  # (W, B, 1)
    scores = matrix.new_full((w + 1, b, c + 1), -math.inf)
    scores[:w, :, :c] = emissions.detach().transpose(0, 1).masked_fill(~real, -math.inf)
    scores[:w, :, c:].masked_fill_(~real, 0)
    scores[w, :, c] = 0
    pairs = (scores, scores.flip(0)) if both else (scores,)
    stacked = torch.stack(pairs, 1)  # (W + 1, way, B, K)
    steps = torch.stack((matrix.t(), matrix)[: len(pairs)]).unsqueeze(1)  # (way, 1, K to, K from)
    state = stacked[0].clone()  # (way, B, K)
    state[0] += matrix[c]
    states = [state]
    for score in stacked[1:].unbind():
        state = torch.logsumexp(state.unsqueeze(-2) + steps, -1) + score
        states.append(state)
    log_partition = state[0, :, c]  # (B,)
    messages = torch.stack(states, 1)  # (way, W + 1, B, K)
    return log_partition, messages[0], messages[1:].squeeze(0).flip(0)


def log_posterior(emissions: Tensor, mask: Tensor, matrix: Tensor, *, both: bool) -> Posterior:
    """What `scaled_posterior` gives, whatever the range of the scores."""
    log_partition, left, right = log_messages(emissions, mask, matrix, both=both)
    if not both:
        return Posterior(log_partition, emissions.new_empty(0), matrix.new_empty(0))
    b, w, c = emissions.shape
    nodes = matrix.new_empty(w, b, c + 1)
    edges = matrix.new_zeros(b, c + 1, c + 1)
    # Without a legal path the log-partition is -inf, and -inf - -inf would be NaN.
    base = log_partition.masked_fill(log_partition == -math.inf, 0).view(-1, 1, 1)  # (B, 1, 1)
    # A few words at a time in one buffer: all (W, B, K, K) at once would not fit a cache, or a GPU.
    limit = _EDGE_CHUNK if emissions.device.type == "cpu" else _MOST_SCRATCH
    chunk = min(w, max(1, limit // edges.numel()))
    buffer = matrix.new_empty(chunk, b, c + 1, c + 1)
    for at in range(0, w, chunk):
        here = left[at : min(at + chunk, w)].unsqueeze(-1)  # (chunk, B, K, 1)
        after = right[at + 1 : at + 1 + len(here)].unsqueeze(-2)  # (chunk, B, 1, K)
        pairs = torch.add(here - base, after, out=buffer[: len(here)])  # (chunk, B, K, K)
        pairs.add_(matrix).exp_()
        nodes[at : at + len(here)] = pairs.sum(-1)
        edges += pairs.sum(0)
    edges[:, c] = nodes[0]
    return Posterior(log_partition, nodes[..., :c].transpose(0, 1).to(emissions.dtype), edges)
