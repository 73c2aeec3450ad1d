"""Log-probabilities of segments, such as entities, under the CRF: from forward and backward messages."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ner_lightning.model.crf.inputs import check_inputs, transition_matrix
from ner_lightning.model.crf.log_space import log_messages
from ner_lightning.model.crf.sums import log_ratio


class Segments(NamedTuple):
    """Segments of words and their tags, S of them. *Shape:* (S,) each, long.

    Attributes:
        sentence: index of the sentence in the batch.
        start: index of the first word.
        end: index after the last word.
        first_tag: tag of the first word.
        inner_tag: tag of all other words.
        not_next: the tag that would continue the segment at `end`, and is excluded there; -1 excludes
            none. It has no effect where the segment ends its sentence.
    """

    sentence: Tensor
    start: Tensor
    end: Tensor
    first_tag: Tensor
    inner_tag: Tensor
    not_next: Tensor


@torch.no_grad()
def segment_log_probs(
    emissions: Tensor, mask: Tensor, segments: Segments, start: Tensor, transitions: Tensor, end: Tensor
) -> Tensor:
    """Log-probability that a legal path contains exactly the segment, for each segment on its own.

    It adds the forward message at the first word, the scores inside the segment, and the backward messages
    after it, except that of `not_next` (Culotta and McCallum 2004). Emissions on words must be finite.

    *Shape:* as for `posterior`; the result (S,).

    Raises:
        ValueError: a segment is empty or leaves its sentence.
    """
    check_inputs(emissions, mask, len(start))
    sentence, first, stop = segments[:3]
    if bool(((first < 0) | (stop <= first) | (stop > mask.sum(1)[sentence])).any()):
        raise ValueError("expected 0 <= start < end <= words of the sentence for every segment")
    matrix = transition_matrix(start, transitions, end)  # (K, K)
    words = emissions.to(matrix.dtype).masked_fill(~mask.unsqueeze(-1), 0)  # (B, W, C)
    return segment_scores(segments, words, matrix, log_messages(emissions, mask, matrix)).to(emissions.dtype)


def segment_scores(
    segments: Segments, words: Tensor, matrix: Tensor, messages: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Log-probabilities from the messages, in their precision.

    *Shape:* `words` (B, W, C), 0 on padding; `matrix` (K, K); `messages` as from `log_messages`; the
    result (S,).
    """
    sentence, first, stop, first_tag, inner_tag, not_next = segments
    log_partition, forward, back = messages  # (B,), (W + 1, B, K) twice
    before = F.pad(words.cumsum(1), (0, 0, 1, 0))  # (B, W + 1, C): sums up to each word
    inside = before[sentence, stop, inner_tag] - before[sentence, first + 1, inner_tag]  # (S,)
    length = stop - first  # (S,)
    repeats = torch.where(length > 2, matrix[inner_tag, inner_tag] * (length - 2), 0)  # (S,)
    inside += torch.where(length > 1, matrix[first_tag, inner_tag] + repeats, 0)
    last = torch.where(length > 1, inner_tag, first_tag)  # (S,)
    after = matrix[last] + back[stop, sentence]  # (S, K): OUTSIDE, the end of the sentence, included
    excluded = torch.arange(len(matrix), device=after.device) == not_next.unsqueeze(-1)  # (S, K)
    after = after.masked_fill(excluded, -math.inf).logsumexp(-1)  # (S,)
    score = forward[first, sentence, first_tag] + inside + after  # (S,)
    return log_ratio(score, log_partition[sentence])
