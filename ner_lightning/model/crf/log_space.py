"""Forward-backward in log space: exact for any scores, on any device."""

import math

import torch
from torch import Tensor

from ner_lightning.model.crf.inputs import MAX_SCRATCH, Posterior

_CPU_CHUNK = 1 << 16  # doubles that stay in a CPU's cache


def log_messages(
    emissions: Tensor, mask: Tensor, matrix: Tensor, *, backward: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-partition (B,), and forward and backward log-messages (W + 1, B, K).

    A message includes its own word's score. Without `backward`, the backward messages are empty.
    """
    b, w, c = emissions.shape
    words = mask.t().unsqueeze(-1)  # (W, B, 1)
    scores = matrix.new_full((w + 1, b, c + 1), -math.inf)  # (W + 1, B, K)
    scores[:w, :, :c] = emissions.detach().transpose(0, 1).masked_fill(~words, -math.inf)
    scores[:w, :, c:].masked_fill_(~words, 0)
    scores[w, :, c] = 0
    # One loop runs both directions: backward is forward over the reversed chain.
    directions = (scores, scores.flip(0)) if backward else (scores,)
    stacked = torch.stack(directions, 1)  # (W + 1, directions, B, K)
    steps = torch.stack((matrix.t(), matrix)[: len(directions)]).unsqueeze(1)  # (directions, 1, K to, K from)
    message = stacked[0].clone()  # (directions, B, K)
    message[0] += matrix[c]
    messages = [message]
    for score in stacked[1:].unbind():
        message = torch.logsumexp(message.unsqueeze(-2) + steps, -1) + score
        messages.append(message)
    log_partition = message[0, :, c]  # (B,)
    both = torch.stack(messages, 1)  # (directions, W + 1, B, K)
    return log_partition, both[0], both[1:].squeeze(0).flip(0)


def log_posterior(emissions: Tensor, mask: Tensor, matrix: Tensor, *, backward: bool) -> Posterior:
    """As `scaled_posterior`, for scores of any range."""
    log_partition, forward, back = log_messages(emissions, mask, matrix, backward=backward)
    if not backward:
        return Posterior(log_partition, emissions.new_empty(0), matrix.new_empty(0))
    b, w, c = emissions.shape
    marginals = matrix.new_empty(w, b, c + 1)  # (W, B, K)
    counts = matrix.new_zeros(b, c + 1, c + 1)  # (B, K, K)
    # Without a legal path the log-partition is -inf, and -inf - -inf would be NaN.
    base = log_partition.masked_fill(log_partition == -math.inf, 0).view(-1, 1, 1)  # (B, 1, 1)
    # A few words at a time in one buffer: all (W, B, K, K) at once would not fit a cache, or a GPU.
    limit = _CPU_CHUNK if emissions.device.type == "cpu" else MAX_SCRATCH
    chunk = min(w, max(1, limit // counts.numel()))
    buffer = matrix.new_empty(chunk, b, c + 1, c + 1)
    for begin in range(0, w, chunk):
        current = forward[begin : min(begin + chunk, w)].unsqueeze(-1)  # (chunk, B, K, 1)
        following = back[begin + 1 : begin + 1 + len(current)].unsqueeze(-2)  # (chunk, B, 1, K)
        pairs = torch.add(current - base, following, out=buffer[: len(current)])  # (chunk, B, K, K)
        pairs.add_(matrix).exp_()
        marginals[begin : begin + len(current)] = pairs.sum(-1)
        counts += pairs.sum(0)
    counts[:, c] = marginals[0]
    return Posterior(log_partition, marginals[..., :c].transpose(0, 1).to(emissions.dtype), counts)
