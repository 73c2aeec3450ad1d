"""Viterbi: decodes the best path and the n best paths of a CRF.

Nothing here knows label names: illegal tags have scores of -inf. Shape legend: as in `sums`; N paths.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ner_lightning.model.crf.inputs import check_inputs, transition_matrix
from ner_lightning.model.crf.scaled import scratch
from ner_lightning.model.crf.sums import log_partition, log_ratio
from ner_lightning.model.untraced import untraced

_SUMS = 1 << 18  # of scores that are compared at a time: 2 MiB


def viterbi(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """The best path of each sentence (Viterbi 1967), computed on the host in numpy.

    All scores may be -inf. Of equally good paths it takes the one that pytorch-crf takes: the
    lowest last tag, then the lowest tag before it, and so on.

    *Shape:* as for `posterior`; the result is (B, W), 0 on padding, on the device of `emissions`.
    """
    result: Tensor = untraced(_best_paths)(emissions, mask, start, transitions, end)
    return result


def _best_paths(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    mask = mask.cpu()
    check_inputs(emissions, mask, len(start))
    b, w, c = emissions.shape
    first, steps, last = (t.detach().cpu().double().numpy() for t in (start, transitions, end))
    lengths = mask.numpy().sum(1)  # (B,)
    order = np.argsort(-lengths, kind="stable")  # longest first: sentences with a word t are a prefix
    active = (lengths > np.arange(w)[:, None]).sum(1).tolist()  # (W,)

    # Tags before sentences: a maximum over tags is then one over rows.
    best, by_sentence = scratch.take((w, c, b), (w, b, c))
    by_sentence[:] = emissions.detach().cpu().double().numpy()[order].transpose(1, 0, 2)
    best[:] = by_sentence.transpose(0, 2, 1)
    best[0] += first[:, None]
    spread = steps[:, :, None]  # (C from, C to, 1)
    for word in range(1, active.index(0) if 0 in active else w):
        now = active[word]
        width = max(1, _SUMS // (c * now))  # tags at a time: of 2,001, all sums together would be 1 GB
        for tag in range(0, c, width):
            into = slice(tag, tag + width)
            best[word, into, :now] += (best[word - 1, :, None, :now] + spread[:, into]).max(0)  # (width, now)

    # Backpointers only for the tags on the path, not for all tags.
    by_sentence[:] = best.transpose(0, 2, 1)
    backwards = np.ascontiguousarray(steps.T)  # (C to, C from)
    path = np.zeros((w, b), dtype=np.int64)
    tags = (by_sentence[lengths[order] - 1, np.arange(b)] + last).argmax(1)  # (B,)
    for word in range(w - 1, -1, -1):
        after = active[word + 1] if word + 1 < w else 0
        tags[:after] = (by_sentence[word, :after] + backwards[tags[:after]]).argmax(1)
        path[word, : active[word]] = tags[: active[word]]
    result = np.empty((b, w), dtype=np.int64)
    result[order] = path.T
    return torch.from_numpy(result).to(emissions.device)


@torch.no_grad()
def n_best(
    emissions: Tensor, mask: Tensor, n: int, start: Tensor, transitions: Tensor, end: Tensor
) -> tuple[Tensor, Tensor]:
    """The n most probable legal paths, best first: Viterbi with n scores for each tag.

    *Shape:* as for `posterior`; the result is tags (B, N, W), 0 on padding and for paths that do not
    exist, and log-probabilities (B, N), -inf for paths that do not exist.

    Raises:
        ValueError: `n` is below 1.
    """
    if n < 1:
        raise ValueError(f"expected n to be at least 1, got {n}")
    check_inputs(emissions, mask, len(start))
    matrix = transition_matrix(start, transitions, end)  # (K, K)
    w, c = emissions.shape[1:]
    steps = matrix[:c, None, :c]  # (C from, 1, C to)
    scores = emissions.to(matrix.dtype)  # (B, W, C)
    best = F.pad((matrix[c, :c] + scores[:, 0]).unsqueeze(-1), (0, n - 1), value=-math.inf)  # (B, C, N)
    stay = torch.arange(c * n, device=best.device).view(c, n)  # (C, N)
    origins = []
    for word in range(1, w):
        candidates = (best.unsqueeze(-1) + steps).flatten(1, 2)  # (B, C * N from, C to)
        top, origin = candidates.topk(n, dim=1)  # (B, N, C to)
        is_word = mask[:, word].view(-1, 1, 1)
        best = torch.where(is_word, top.transpose(1, 2) + scores[:, word].unsqueeze(-1), best)  # (B, C, N)
        origins.append(torch.where(is_word, origin.transpose(1, 2), stay).flatten(1))  # (B, C * N)
    score, slot = (best + matrix[:c, c:]).flatten(1).topk(n)  # (B, N)
    path = [slot]
    for origin in reversed(origins):
        path.append(origin.gather(1, path[-1]))
    tags = torch.stack(path[::-1], -1) // n  # (B, N, W)
    exists = (score > -math.inf).unsqueeze(-1) & mask.unsqueeze(1)  # (B, N, W)
    total = log_partition(emissions, mask, start, transitions, end)  # (B,)
    log_probs = log_ratio(score, total.unsqueeze(-1))  # (B, N)
    return tags.masked_fill(~exists, 0), log_probs.to(emissions.dtype)
