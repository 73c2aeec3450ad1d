"""Scaled forward-backward in numpy: the fast recursion, on a CPU, where nothing can underflow."""

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ner_lightning.model.crf.inputs import MAX_SCRATCH, Posterior

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Messages stay within exp(-345) .. exp(345), so that the product of two, a word's probability before
# normalization, is a normal double.
_LOG_RANGE = 345.0
_MAX_MIXING_STEPS = 8


class _Scratch(threading.local):
    """Working memory reused between calls: fresh pages would cost more time than the arithmetic on them."""

    def __init__(self) -> None:
        self.memory: Doubles = np.empty(0)

    def take(self, *shapes: tuple[int, ...]) -> list[Doubles]:
        """Arrays of these shapes with arbitrary content, valid until this thread's next call."""
        total = sum(math.prod(shape) for shape in shapes)
        if total > MAX_SCRATCH:
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


def _rescaling_period(
    matrix: Doubles, emission_range: float, restricted: Callable[[int], int] | None = None
) -> int:
    """After how many words messages must be rescaled to stay exact; 0 if none is short enough.

    Let r be the range of the scores that one word adds, plus log K for what a sum can gain, and let
    every tag reach every tag in exactly k legal transitions. Then a message is either zero because
    no legal path leads there or within exp(-k r) of the best one k words before; and the best one
    loses at most exp(-r) per word until it is rescaled to 1. The ends of a sentence add two words.

    `restricted` gives, for k, the most words between a word and the last one before it with a single tag or
    after k words of any tag: so many words more are between a message and the best one.
    """
    finite = matrix[np.isfinite(matrix)]
    reach = finite.max() - finite.min() + emission_range + math.log(len(matrix))
    if not reach < _LOG_RANGE:  # true for NaN as well
        return 0
    step = (matrix[:-1, :-1] > -np.inf).astype(np.float32)  # (C, C)
    reached = step
    mixing = 1
    while not reached.all():
        if mixing == _MAX_MIXING_STEPS:
            return 0
        reached = (reached @ step > 0).astype(np.float32)
        mixing += 1
    extra = 0 if restricted is None else restricted(mixing)
    return max(0, int(_LOG_RANGE / reach) - mixing - extra - 2)


def _longest_restriction(allowed: Flags, mask: Flags, mixing: int) -> int:
    """As `_rescaling_period` asks for, in both directions. *Shape:* `allowed` (B, W, C); `mask` (B, W)."""
    free = allowed.all(-1) & mask  # (B, W)
    single = (allowed.sum(-1) <= 1) | ~mask  # (B, W)
    place = np.arange(mask.shape[1])  # (W,)
    longest = 0
    for any_tag, one_tag in ((free, single), (free[:, ::-1], single[:, ::-1])):
        run = place - np.maximum.accumulate(np.where(any_tag, -1, place), axis=1)  # words of any tag
        anchor = np.where(one_tag | (run >= mixing), place, -1)
        longest = max(longest, int((place - np.maximum.accumulate(anchor, axis=1)).max()))
    return longest


def scaled_posterior(
    emissions: Tensor, mask: Tensor, matrix: Tensor, allowed: Tensor | None = None, *, backward: bool
) -> Posterior | None:
    """Log-partition, marginals and expected transitions from rescaled messages; None if inexact.

    `messages` (W + 1, directions, B, K) holds the forward recursion in direction 0 and, with `backward`, the
    backward one in direction 1: a forward recursion over the reversed chain. So one loop runs both:

        row          0       1     ...    W - 1      W
        forward    word 0  word 1  ...  word W-1  OUTSIDE    up to and including the word of the row
        backward   OUTSIDE word W-1 ...  word 1    word 0    down to and including the word of row W - t

    Without `backward`, marginals and expected transitions are empty. With `allowed` (B, W, C), only paths of
    allowed tags count.
    """
    b, w, c = emissions.shape
    k, directions = c + 1, 1 + backward
    scores = matrix.numpy()  # (K, K)
    words, time, sentence = _gather_words(emissions.detach().numpy(), mask)
    top, low, peak = float(words.max()), float(words.min()), scores[np.isfinite(scores)].max()
    restricted = allowed if allowed is None else partial(_longest_restriction, allowed.numpy(), mask.numpy())
    period = _rescaling_period(scores, top - low, restricted)
    if not period:
        return None

    messages, back, marginals = scratch.take((w + 1, directions, b, k), (w, b, k), (w, b, k))
    factors = np.zeros((len(words), k))  # (N, K)
    np.exp(np.subtract(words, top, dtype=np.float64), out=factors[:, :c])
    if allowed is not None:
        factors[:, :c] *= _gather_words(allowed.numpy(), mask)[0]
    _place_words(messages, factors, time, sentence)
    step = np.exp(scores - peak)  # (K, K)
    messages[0, 0] *= step[c]
    log_scale = np.bincount(sentence) * top + (w + 1) * peak  # (B,)
    _scan(messages, step, period, log_scale)
    log_partition = torch.from_numpy(messages[w, 0, :, c]).log() + torch.from_numpy(log_scale)  # (B,)
    if not backward:
        return Posterior(log_partition, emissions.new_empty(0), matrix.new_empty(0))

    back[:] = messages[w - 1 :: -1, 1]
    counts = _combine(messages[:w, 0], back, step, marginals)  # (B, K, K)
    result = emissions.new_empty(b, w, c)
    result.copy_(torch.from_numpy(marginals[:, :, :c]).transpose(0, 1))  # a copy: marginals is scratch
    return Posterior(log_partition, result, torch.from_numpy(counts))


def _gather_words(emissions: NDArray[Any], mask: Tensor) -> tuple[NDArray[Any], Indices, Indices]:
    """Emissions (N, C) of the N real words, all sentences' first words first; time and sentence (N,)."""
    b, w, c = emissions.shape
    time, sentence = np.divmod(np.flatnonzero(np.ascontiguousarray(mask.numpy().T)), b)
    words = emissions.reshape(-1, c).take(sentence * w + time, axis=0)
    return words, time, sentence


def _place_words(messages: Doubles, factors: Doubles, time: Indices, sentence: Indices) -> None:
    """Writes the factors of each word into its rows; on padding, OUTSIDE has factor 1 and all others 0.

    *Shape:* `messages` (W + 1, directions, B, K); `factors` (N, K); `time`, `sentence` (N,).
    """
    directions, b, k = messages.shape[1:]
    messages[:, 0, :, : k - 1] = 0
    messages[:, 0, :, k - 1] = 1
    messages.reshape(-1, k)[time * (directions * b) + sentence] = factors
    messages[:, 1:] = messages[::-1, : directions - 1]


def _scan(messages: Doubles, step: Doubles, period: int, log_scale: Doubles) -> None:
    """Turns factors into messages in place; adds the logs of the forward rescaling to `log_scale` (B,).

    *Shape:* `messages` (W + 1, directions, B, K); `step` (K, K), the factor of each transition (from, to).
    """
    steps = np.array((step, step.T)[: messages.shape[1]])  # (directions, K, K)
    previous = messages[0]  # (directions, B, K)
    product = np.empty_like(previous)
    for word, current in enumerate(messages[1:], 1):
        np.matmul(previous, steps, out=product)
        np.multiply(product, current, out=current)
        if word % period == 0:
            largest = current.max(-1, keepdims=True)  # (directions, B, 1)
            largest[largest == 0] = 1  # no legal path: stays zero
            current /= largest
            log_scale += np.log(largest[0, :, 0])
        previous = current


def _combine(forward: Doubles, back: Doubles, step: Doubles, marginals: Doubles) -> Doubles:
    """Writes `marginals`, and returns the expected transitions (B, K, K).

    *Shape:* `forward` (W, B, K), up to and including word t; `back` (W, B, K), down to and including word
    t + 1, which is overwritten; `step` (K, K); `marginals` (W, B, K).
    """
    k = len(step)
    np.matmul(back, step.T, out=marginals)  # word by word: small products stay on one core (see `sums`)
    marginals *= forward
    total = np.matmul(marginals, np.ones((k, 1)))  # (W, B, 1)
    weight = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
    marginals *= weight
    back *= weight
    counts: Doubles = np.matmul(forward.transpose(1, 2, 0), back.transpose(1, 0, 2))  # (B, K, K)
    counts *= step
    counts[:, k - 1] = marginals[0]
    return counts
