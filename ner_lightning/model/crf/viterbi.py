"""Viterbi: decodes the best path and the n best paths of a CRF.

The maxima over paths are here, the sums over paths in `chain`. Nothing here knows label names: what
is legal comes as bool tensors. Shape legend: B sentences, W words, C tags, S segments, N paths.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ner_lightning.model.crf import inputs, log_space, scaled, sums

if TYPE_CHECKING:
    pass


# The parameters of a CRF, as in pytorch-crf, and how many dimensions of C each has.
_SHAPES = {"start_transitions": 1, "end_transitions": 1, "transitions": 2}


class Segments(NamedTuple):
    """Stretches of words and their tags: `first_tag` at `start`, `inner_tag` from there to `end`.

    `end` is exclusive. `not_next` is the tag that would continue the segment at `end` and must not
    stand there; -1 allows all. It plays no part where the segment ends its sentence.

    *Shape:* each (S,), long.
    """

    sentence: Tensor
    start: Tensor
    end: Tensor
    first_tag: Tensor
    inner_tag: Tensor
    not_next: Tensor


def viterbi(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """The best path of each sentence (Viterbi 1967), computed on the host in numpy.

    All scores may be -inf. Of equally good paths it takes the one that pytorch-crf takes: the
    lowest last tag, then the lowest tag before it, and so on.

    *Shape:* `emissions` (B, W, C); `mask` (B, W), True on words, a prefix of each row; `start` (C,);
    `transitions` (C, C), from (row) to (column); `end` (C,). The result is (B, W), 0 on padding, on
    the device of `emissions`.
    """
    mask = mask.cpu()
    inputs.check_inputs(emissions, mask, len(start))
    b, w, c = emissions.shape
    first, moves, last = (t.detach().cpu().double().numpy() for t in (start, transitions, end))
    lengths = mask.numpy().sum(1)  # (B,)
    order = np.argsort(-lengths, kind="stable")  # the sentences that go on are then a prefix
    active = (lengths > np.arange(w)[:, None]).sum(1).tolist()  # (W,)

    # Tags before sentences: a maximum over tags is then one over rows.
    best, by_sentence = scaled.scratch.take((w, c, b), (w, b, c))
    by_sentence[:] = emissions.detach().cpu().double().numpy()[order].transpose(1, 0, 2)
    best[:] = by_sentence.transpose(0, 2, 1)
    best[0] += first[:, None]
    spread = moves[:, :, None]  # (C from, C to, 1)
    for word in range(1, active.index(0) if 0 in active else w):
        now = active[word]
        best[word, :, :now] += (best[word - 1, :, None, :now] + spread).max(0)  # (C, now)

    # Backpointers only for the tags on the path, not for all tags.
    by_sentence[:] = best.transpose(0, 2, 1)
    into = np.ascontiguousarray(moves.T)  # (C to, C from)
    path = np.zeros((w, b), dtype=np.int64)
    tag = (by_sentence[lengths[order] - 1, np.arange(b)] + last).argmax(1)  # (B,)
    for word in range(w - 1, -1, -1):
        after = active[word + 1] if word + 1 < w else 0
        tag[:after] = (by_sentence[word, :after] + into[tag[:after]]).argmax(1)
        path[word, : active[word]] = tag[: active[word]]
    result = np.empty((b, w), dtype=np.int64)
    result[order] = path.T
    return torch.from_numpy(result).to(emissions.device)


@torch.no_grad()
def n_best(
    emissions: Tensor, mask: Tensor, n: int, start: Tensor, transitions: Tensor, end: Tensor
) -> tuple[Tensor, Tensor]:
    """The n most probable legal paths, best first: Viterbi that keeps n scores for each tag.

    *Shape:* as for `viterbi`; the result is tags (B, N, W), 0 on padding and for paths that do not
    exist, and log-probabilities (B, N), -inf for paths that do not exist.
    """
    if n < 1:
        raise ValueError(f"expected n to be at least 1, got {n}")
    inputs.check_inputs(emissions, mask, len(start))
    matrix = inputs.transition_matrix(start, transitions, end)  # (K, K)
    w, c = emissions.shape[1:]
    moves = matrix[:c, None, :c]  # (C from, 1, C to)
    scores = emissions.to(matrix.dtype)
    best = F.pad((matrix[c, :c] + scores[:, 0]).unsqueeze(-1), (0, n - 1), value=-math.inf)
    stay = torch.arange(c * n, device=best.device).view(c, n)
    origins = []
    for word in range(1, w):
        candidates = (best.unsqueeze(-1) + moves).flatten(1, 2)  # (B, C * N from, C to)
        top, origin = candidates.topk(n, dim=1)  # (B, N, C to)
        real = mask[:, word].view(-1, 1, 1)
        best = torch.where(real, top.transpose(1, 2) + scores[:, word].unsqueeze(-1), best)
        origins.append(torch.where(real, origin.transpose(1, 2), stay).flatten(1))  # (B, C * N)
    score, slot = (best + matrix[:c, c:]).flatten(1).topk(n)  # (B, N)
    path = [slot]
    for origin in reversed(origins):
        path.append(origin.gather(1, path[-1]))
    tags = torch.stack(path[::-1], -1) // n  # (B, N, W)
    exists = (score > -math.inf).unsqueeze(-1) & mask.unsqueeze(1)  # (B, N, W)
    log_partition = sums.log_partition(emissions, mask, start, transitions, end)
    log_probs = sums.log_ratio(score, log_partition.unsqueeze(-1))  # (B, N)
    return tags.masked_fill(~exists, 0), log_probs.to(emissions.dtype)


@torch.no_grad()
def segment_log_probs(
    emissions: Tensor,
    mask: Tensor,
    segments: Segments,
    start: Tensor,
    transitions: Tensor,
    end: Tensor,
) -> Tensor:
    """Log-probability that a legal path holds a segment exactly, for each segment on its own.

    The forward message at its first word, the scores inside, and the backward messages after it but
    for `not_next` (Culotta and McCallum 2004). Emissions on words must be finite.

    *Shape:* as for `viterbi`; `segments` (S,) each; the result (S,).
    """
    inputs.check_inputs(emissions, mask, len(start))
    sentence, first, stop, first_tag, inner_tag, not_next = segments
    if bool(((first < 0) | (stop <= first) | (stop > mask.sum(1)[sentence])).any()):
        raise ValueError("expected 0 <= start < end <= words of the sentence for every segment")
    matrix = inputs.transition_matrix(start, transitions, end)  # (K, K)
    log_partition, left, right = log_space.log_messages(emissions, mask, matrix)
    words = emissions.to(matrix.dtype).masked_fill(~mask.unsqueeze(-1), 0)  # (B, W, C)
    before = F.pad(words.cumsum(1), (0, 0, 1, 0))  # (B, W + 1, C): sums up to each word
    inside = before[sentence, stop, inner_tag] - before[sentence, first + 1, inner_tag]  # (S,)
    length = stop - first
    repeats = torch.where(length > 2, matrix[inner_tag, inner_tag] * (length - 2), 0)
    inside += torch.where(length > 1, matrix[first_tag, inner_tag] + repeats, 0)
    last = torch.where(length > 1, inner_tag, first_tag)  # (S,)
    after = matrix[last] + right[stop, sentence]  # (S, K): the end of the sentence is a tag as well
    banned = torch.arange(len(matrix), device=after.device) == not_next.unsqueeze(-1)  # (S, K)
    after = after.masked_fill(banned, -math.inf).logsumexp(-1)  # (S,)
    score = left[first, sentence, first_tag] + inside + after
    return sums.log_ratio(score, log_partition[sentence]).to(emissions.dtype)
