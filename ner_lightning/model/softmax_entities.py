"""Entities of a softmax at each word: products of tag probabilities, and the search for the probable ones."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ner_lightning.model.crf.candidates import Kinds, search
from ner_lightning.model.crf.segments import Chain, Segments, begin_scores


def softmax_chain(emissions: Tensor, mask: Tensor, matrix: Tensor, temperature: float) -> Chain:
    """The chain of independent words, in the precision of `matrix` (K, K): 0 where legal, else -inf."""
    log_probs = torch.log_softmax(emissions.float() / temperature, dim=-1, dtype=matrix.dtype)  # (B, W, C)
    # No word is OUTSIDE, the last tag of the matrix.
    message = F.pad(log_probs.masked_fill(~mask.unsqueeze(-1), -torch.inf), (0, 1), value=-torch.inf)
    message = message.transpose(0, 1)  # (W, B, K)
    return Chain(log_probs, matrix, log_probs.new_zeros(len(log_probs)), message, message)


def products(chain: Chain, segments: Segments) -> Tensor:
    """The probability that a segment begins at its first word, times that of its other words' tag.

    *Shape:* (S,).
    """
    sentence, start, end, first, inner = segments
    # Differences of long sums: in fp32 a score would depend on what precedes its entity.
    sums = F.pad(chain.words.cumsum(1), (0, 0, 1, 0))  # (B, W + 1, C)
    inside = sums[sentence, end, inner] - sums[sentence, start + 1, inner]
    begun = torch.stack(begin_scores(chain, sentence, start, first, inner)).logsumexp(0)
    return (begun + inside).exp().float()


def softmax_candidates(chain: Chain, mask: Tensor, kinds: Kinds) -> tuple[Tensor, ...]:
    """Every entity whose product is at least a threshold; all arguments are on the CPU.

    Returns:
        row, first word, one past the last, type, probability and priority. *Shape:* (S,) each
    """
    row, start, end, kind = search(chain, mask, kinds)
    probability = products(chain, Segments(row, start, end, kinds.first_tag[kind], kinds.inner_tag[kind]))
    chosen = probability.double() >= kinds.min_prob[kind]
    after = F.pad(chain.forward, (0, 0, 0, 0, 0, 1), value=-torch.inf)  # (W + 1, B, K)
    priority = probability * (1 - after[end, row, kinds.inner_tag[kind]].exp()).float()
    return tuple(each[chosen] for each in (row, start, end, kind, probability, priority))
