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
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from ner_lightning.model.devices import has_float64

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

# Messages of the scaled recursion stay within exp(-345) .. exp(345), so that the product of two, a
# word's probability before it is normalised, is a normal double.
_LOG_RANGE = 345.0
_MOST_MIXING_STEPS = 8
# Multiplications above which numpy's OpenBLAS takes all cores for one product, whatever torch's number
# of threads: on a busy machine that is many times slower than staying on one.
_MOST_PRODUCT = 1 << 18
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


class _Scratch(threading.local):
    """Memory kept between calls: fresh pages would cost more time than the arithmetic on them."""

    def __init__(self) -> None:
        self.memory: Doubles = np.empty(0)

    def take(self, *shapes: tuple[int, ...]) -> list[Doubles]:
        """Arrays of these shapes with arbitrary content, valid until this thread's next call."""
        total = sum(math.prod(shape) for shape in shapes)
        if total > _MOST_SCRATCH:
            return [np.empty(shape) for shape in shapes]
        if total > self.memory.size:
            self.memory = np.empty(total)
        arrays, used = [], 0
        for shape in shapes:
            size = math.prod(shape)
            arrays.append(self.memory[used : used + size].reshape(shape))
            used += size
        return arrays


scratch = _Scratch()


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


def _rescaling_period(matrix: Doubles, emission_range: float) -> int:
    """After how many words the scaled recursion must rescale to be exact; 0 if it cannot be.

    Let r be the range of the scores that one word adds, plus log K for what a sum can gain, and let
    every tag reach every tag in exactly k legal transitions. Then a message is either zero because
    no legal path leads there or within exp(-k r) of the best one k words before; and the best one
    loses at most exp(-r) per word until it is rescaled to 1. The ends of a sentence add two words.
    """
    finite = matrix[np.isfinite(matrix)]
    reach = finite.max() - finite.min() + emission_range + math.log(len(matrix))
    if not reach < _LOG_RANGE:  # true for NaN as well
        return 0
    step = (matrix[:-1, :-1] > -np.inf).astype(np.float32)  # (C, C)
    reached = step
    mixing = 1
    while not reached.all():
        if mixing == _MOST_MIXING_STEPS:
            return 0
        reached = (reached @ step > 0).astype(np.float32)
        mixing += 1
    return max(0, int(_LOG_RANGE / reach) - mixing - 2)


def _scaled(emissions: Tensor, mask: Tensor, matrix: Tensor, *, both: bool) -> Posterior | None:
    """Sums in probability space, rescaled before they could leave the range; None if unsafe.

    `messages` (W + 1, way, B, K) holds the recursion forward in way 0 and, with `both`, the one backward in
    way 1, which is the recursion forward on the reversed chain. So one loop takes both:

        row       0       1     ...    W - 1      W
        way 0   word 0  word 1  ...  word W-1  OUTSIDE    left: up to and with the word of the row
        way 1   OUTSIDE word W-1 ...  word 1    word 0    right: down to and with the word of row W - t

    With `both=False` it goes forward only: no nodes or edges.
    """
    b, w, c = emissions.shape
    k, way = c + 1, 1 + both
    scores = matrix.numpy()
    words, time, sentence = _gather_words(emissions, mask)
    top, low, peak = float(words.max()), float(words.min()), scores[np.isfinite(scores)].max()
    period = _rescaling_period(scores, top - low)
    if not period:
        return None

    messages, right, nodes = scratch.take((w + 1, way, b, k), (w, b, k), (w, b, k))
    factors = np.zeros((len(words), k))  # (N, K)
    np.exp(np.subtract(words, top, dtype=np.float64), out=factors[:, :c])
    _place_words(messages, factors, time, sentence)
    step = np.exp(scores - peak)  # (K, K)
    messages[0, 0] *= step[c]
    log_scale = np.bincount(sentence) * top + (w + 1) * peak  # (B,)
    _scan(messages, step, period, log_scale)
    log_partition = torch.from_numpy(messages[w, 0, :, c]).log() + torch.from_numpy(log_scale)
    if not both:
        return Posterior(log_partition, emissions.new_empty(0), matrix.new_empty(0))

    right[:] = messages[w - 1 :: -1, 1]
    edges = _combine(messages[:w, 0], right, step, nodes)
    result = emissions.new_empty(b, w, c)
    result.copy_(torch.from_numpy(nodes[:, :, :c]).transpose(0, 1))  # a copy: nodes is scratch
    return Posterior(log_partition, result, torch.from_numpy(edges))


def _gather_words(emissions: Tensor, mask: Tensor) -> tuple[Doubles, Indices, Indices]:
    """The emissions (N, C) of the N real words, all sentences' first words first; time and sentence (N,)."""
    b, w, c = emissions.shape
    time, sentence = np.divmod(np.flatnonzero(np.ascontiguousarray(mask.numpy().T)), b)
    words = emissions.detach().numpy().reshape(-1, c).take(sentence * w + time, axis=0)
    return words, time, sentence


def _place_words(messages: Doubles, factors: Doubles, time: Indices, sentence: Indices) -> None:
    """Puts what each word multiplies a message by into its row, both ways; padding is OUTSIDE for certain.

    *Shape:* `messages` (W + 1, way, B, K); `factors` (N, K); `time`, `sentence` (N,).
    """
    way, b, k = messages.shape[1:]
    messages[:, 0, :, : k - 1] = 0
    messages[:, 0, :, k - 1] = 1
    messages.reshape(-1, k)[time * (way * b) + sentence] = factors
    messages[:, 1:] = messages[::-1, : way - 1]


def _scan(messages: Doubles, step: Doubles, period: int, log_scale: Doubles) -> None:
    """Turns factors into messages in place, and adds what they were rescaled by to `log_scale` (B,).

    *Shape:* `messages` (W + 1, way, B, K); `step` (K, K), the factor of each transition (from, to).
    """
    steps = np.array((step, step.T)[: messages.shape[1]])  # (way, K, K)
    previous = messages[0]  # (way, B, K)
    product = np.empty_like(previous)
    for word, current in enumerate(messages[1:], 1):
        np.matmul(previous, steps, out=product)
        np.multiply(product, current, out=current)
        if word % period == 0:
            largest = current.max(-1, keepdims=True)  # (way, B, 1)
            largest[largest == 0] = 1  # no legal path: stays zero
            current /= largest
            log_scale += np.log(largest[0, :, 0])
        previous = current


def _combine(left: Doubles, right: Doubles, step: Doubles, nodes: Doubles) -> Doubles:
    """Marginals of tags into `nodes`, and the expected transitions (B, K, K), from both messages.

    *Shape:* `left` (W, B, K), up to and with word t; `right` (W, B, K), down to and with word t + 1, which
    is overwritten; `step` (K, K); `nodes` (W, B, K).
    """
    k = len(step)
    np.matmul(right, step.T, out=nodes)  # word by word, for the reason at _MOST_PRODUCT
    nodes *= left
    total = np.matmul(nodes, np.ones((k, 1)))  # (W, B, 1)
    weight = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
    nodes *= weight
    right *= weight
    edges: Doubles = np.matmul(left.transpose(1, 2, 0), right.transpose(1, 0, 2))  # (B, K, K)
    edges *= step
    edges[:, k - 1] = nodes[0]
    return edges


def log_messages(
    emissions: Tensor, mask: Tensor, matrix: Tensor, *, both: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The recursion of `_scaled` in log space: log-partition, messages forward and backward.

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


def _log_posterior(emissions: Tensor, mask: Tensor, matrix: Tensor, *, both: bool) -> Posterior:
    """What `_scaled` gives, whatever the range of the scores."""
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


def _posterior(emissions: Tensor, mask: Tensor, matrix: Tensor, *, both: bool) -> Posterior:
    """The scaled recursion where it is exact, else log space."""
    if emissions.device.type != "cpu":
        return _log_posterior(emissions, mask, matrix, both=both)
    rows = max(1, _MOST_PRODUCT // matrix.numel())
    parts = [
        _scaled(scores, words, matrix, both=both) or _log_posterior(scores, words, matrix, both=both)
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
