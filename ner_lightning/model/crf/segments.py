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

    The first word of a segment has its first tag, or its inner tag where the word before has neither of the
    two; all other words have the inner tag, and the word after the last has not. So a path has a segment if
    and only if an entity is read there; where BIO2 is enforced, every entity begins with its first tag.

    Attributes:
        sentence: index of the sentence in the batch.
        start: index of the first word.
        end: index after the last word.
        first_tag: tag that begins a segment after any tag.
        inner_tag: tag that continues a segment; another one than `first_tag`.
    """

    sentence: Tensor
    start: Tensor
    end: Tensor
    first_tag: Tensor
    inner_tag: Tensor


class Chain(NamedTuple):
    """A distribution over tag sequences, in log space.

    Attributes:
        words: score of each tag at each word, 0 on padding. *Shape:* (B, W, C)
        matrix: score of each transition (from, to), OUTSIDE the last. *Shape:* (K, K)
        log_partition: *Shape:* (B,)
        forward: message up to and including a word, -inf on padding. *Shape:* (at least W, B, K)
        back: message down to and including a word. *Shape:* as `forward`
    """

    words: Tensor
    matrix: Tensor
    log_partition: Tensor
    forward: Tensor
    back: Tensor


@torch.no_grad()
def segment_log_probs(
    emissions: Tensor, mask: Tensor, segments: Segments, start: Tensor, transitions: Tensor, end: Tensor
) -> Tensor:
    """Log-probability that a legal path contains exactly the segment, for each segment on its own.

    It adds the forward message at the first word, the scores inside the segment, and the backward messages
    after it (Culotta and McCallum 2004), except those of paths that continue the segment there or, with the
    inner tag at its first word, began it before. Emissions on words must be finite.

    *Shape:* as for `posterior`; the result (S,).

    Raises:
        ValueError: a segment is empty or leaves its sentence.
    """
    check_inputs(emissions, mask, len(start))
    sentence, first, stop = segments[:3]
    if bool(((first < 0) | (stop <= first) | (stop > mask.sum(1)[sentence])).any()):
        raise ValueError("expected 0 <= start < end <= words of the sentence for every segment")
    matrix = transition_matrix(start, transitions, end)  # (K, K)
    return segment_scores(chain_of(emissions, mask, matrix), segments).to(emissions.dtype)


def chain_of(emissions: Tensor, mask: Tensor, matrix: Tensor) -> Chain:
    """The chain of a CRF, in the precision of `matrix` (K, K)."""
    words = emissions.to(matrix.dtype).masked_fill(~mask.unsqueeze(-1), 0)  # (B, W, C)
    return Chain(words, matrix, *log_messages(emissions, mask, matrix))


def begin_scores(
    chain: Chain, sentence: Tensor, start: Tensor, first_tag: Tensor, inner_tag: Tensor
) -> tuple[Tensor, Tensor]:
    """Forward messages of the paths on which a segment begins: with its first tag, and with its inner tag.

    *Shape:* (S,) each.
    """
    tags = torch.arange(len(chain.matrix), device=start.device)  # (K,)
    outside = torch.where(tags == tags[-1], 0.0, -math.inf).to(chain.matrix.dtype)  # (K,), before a sentence
    before = torch.where((start > 0).unsqueeze(1), chain.forward[start - 1, sentence], outside)  # (S, K)
    begun_before = (tags == first_tag.unsqueeze(1)) | (tags == inner_tag.unsqueeze(1))  # (S, K)
    entering = (before + chain.matrix.t()[inner_tag]).masked_fill(begun_before, -math.inf)  # (S, K)
    with_inner_tag = entering.logsumexp(-1) + chain.words[sentence, start, inner_tag]  # (S,)
    return chain.forward[start, sentence, first_tag], with_inner_tag


def segment_scores(chain: Chain, segments: Segments) -> Tensor:
    """Log-probabilities of segments, in the precision of the chain. *Shape:* (S,)."""
    sentence, start, stop, first_tag, inner_tag = segments
    matrix = chain.matrix
    before = F.pad(chain.words.cumsum(1), (0, 0, 1, 0))  # (B, W + 1, C): sums up to each word
    inner = before[sentence, stop, inner_tag] - before[sentence, start + 1, inner_tag]  # (S,)
    length = stop - start  # (S,)
    repeats = torch.where(length > 2, matrix[inner_tag, inner_tag] * (length - 2), 0)  # (S,)
    continuing = torch.arange(len(matrix), device=stop.device) == inner_tag.unsqueeze(-1)  # (S, K)
    scores = []
    for tag, begun in zip(
        (first_tag, inner_tag), begin_scores(chain, sentence, start, first_tag, inner_tag), strict=True
    ):
        inside = inner + torch.where(length > 1, matrix[tag, inner_tag] + repeats, 0)
        last = torch.where(length > 1, inner_tag, tag)  # (S,)
        after = matrix[last] + chain.back[stop, sentence]  # (S, K): the end of the sentence included
        after = after.masked_fill(continuing, -math.inf).logsumexp(-1)  # (S,)
        scores.append(begun + inside + after)
    return log_ratio(torch.stack(scores).logsumexp(0), chain.log_partition[sentence])
