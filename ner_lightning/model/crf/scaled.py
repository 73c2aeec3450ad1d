"""Sums over paths in probability space: the fast recursion on a CPU, where nothing can underflow."""

import math
import threading

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ner_lightning.model.crf.inputs import _MOST_SCRATCH, Doubles, Posterior

Indices = NDArray[np.int64]

# Messages of the scaled recursion stay within exp(-345) .. exp(345), so that the product of two, a
# word's probability before it is normalised, is a normal double.
_LOG_RANGE = 345.0
_MOST_MIXING_STEPS = 8


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


def scaled_posterior(emissions: Tensor, mask: Tensor, matrix: Tensor, *, both: bool) -> Posterior | None:
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
