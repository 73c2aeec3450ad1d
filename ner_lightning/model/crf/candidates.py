"""All segments of at least a given probability under the CRF: an exact search over starts and lengths."""

from typing import NamedTuple

import torch
from torch import Tensor

from ner_lightning.model.crf.inputs import check_inputs, transition_matrix
from ner_lightning.model.crf.segments import Chain, Segments, begin_scores, chain_of, segment_scores

# In log space, far above the rounding of messages in double and in single precision: the bound that prunes is
# this much lower than the threshold, which is then applied to the probability itself.
_SLACK = 0.01


class Kinds(NamedTuple):
    """What is searched for: N kinds of segments. *Shape:* (N,) each.

    Attributes:
        first_tag: as in `Segments`, long, here and below.
        inner_tag: as in `Segments`.
        min_prob: the least probability, from above 0 to 1, double.
    """

    first_tag: Tensor
    inner_tag: Tensor
    min_prob: Tensor


class Candidates(NamedTuple):
    """The segments that were found, S of them, on the CPU. *Shape:* (S,) each.

    Attributes:
        sentence: index of the sentence in the batch.
        start: index of the first word.
        end: index after the last word.
        kind: index of the kind.
        prob: its probability.
    """

    sentence: Tensor
    start: Tensor
    end: Tensor
    kind: Tensor
    prob: Tensor


def search(chain: Chain, mask: Tensor, kinds: Kinds) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every segment that is there with at least the probability of its kind, whether or not it goes on.

    The probability that a segment begins at a word and reaches another one only falls with length, so one
    that falls below the threshold is not extended. A path has a word in one segment at most, so no more than
    about W / min_prob segments of a sentence are visited, and mostly few.

    *Shape:* `mask` (B, W); the results (S,) each: sentence, start, end, kind; all on the CPU.
    """
    limit = kinds.min_prob.to(chain.words.dtype).log() - _SLACK  # (N,)
    lengths = mask.sum(1)  # (B,)
    rest = (chain.back[: mask.shape[1]] - chain.log_partition.unsqueeze(-1)).transpose(0, 1)  # (B, W, K)
    rest = rest[..., : chain.words.shape[2]] - chain.words  # (B, W, C): what may follow a tag at a word
    # Whether a segment begins at an inner tag depends on the word before; the tag's marginal bounds it.
    marginals = rest + chain.forward[: mask.shape[1], :, : rest.shape[2]].transpose(0, 1)  # (B, W, C)
    bound = torch.logaddexp(marginals[..., kinds.first_tag], marginals[..., kinds.inner_tag])  # (B, W, N)
    sentence, start, kind = (bound >= limit).nonzero(as_tuple=True)  # (S,)
    first, inner = kinds.first_tag[kind], kinds.inner_tag[kind]
    begun = begin_scores(chain, sentence, start, first, inner)
    whole = torch.logaddexp(begun[0] + rest[sentence, start, first], begun[1] + rest[sentence, start, inner])
    onward = torch.logaddexp(begun[0] + chain.matrix[first, inner], begun[1] + chain.matrix[inner, inner])
    begins = whole >= limit[kind]
    sentence, start, kind, onward = (each[begins] for each in (sentence, start, kind, onward))
    end, found = start + 1, []
    while len(sentence):
        found.append(torch.stack((sentence, start, end, kind)))
        goes_on = (end < lengths[sentence]).nonzero().squeeze(1)
        sentence, start, end, kind, onward = (each[goes_on] for each in (sentence, start, end, kind, onward))
        inner = kinds.inner_tag[kind]
        score = onward + chain.words[sentence, end, inner]
        likely = (score + rest[sentence, end, inner] >= limit[kind]).nonzero().squeeze(1)
        onward = score + chain.matrix[inner, inner]
        sentence, start, end, kind, onward = (
            each[likely] for each in (sentence, start, end + 1, kind, onward)
        )
    sentence, start, end, kind = torch.cat(found, 1) if found else torch.zeros(4, 0, dtype=torch.long)
    return sentence, start, end, kind


@torch.no_grad()
def candidate_segments(
    emissions: Tensor, mask: Tensor, kinds: Kinds, start: Tensor, transitions: Tensor, end: Tensor
) -> Candidates:
    """Every segment whose probability is at least that of its kind; none is left out, none is estimated.

    The probability is that of `segments.segment_log_probs`: that a legal path contains exactly the segment.
    Emissions on words must be finite.

    *Shape:* `kinds` (N,) each; the others as for `posterior`.

    Raises:
        ValueError: a threshold is not above 0.
    """
    check_inputs(emissions, mask, len(start))
    kinds, least = Kinds(*(each.cpu() for each in kinds)), kinds.min_prob.min()
    if not bool(least > 0):
        raise ValueError(f"expected min_prob above 0, got {float(least)}")
    matrix = transition_matrix(start, transitions, end)  # (K, K)
    # On the host: the search asks after every word whether something is left.
    chain = Chain(*(each.cpu() for each in chain_of(emissions, mask, matrix)))
    sentence, first, stop, kind = search(chain, mask.cpu(), kinds)
    segments = Segments(sentence, first, stop, kinds.first_tag[kind], kinds.inner_tag[kind])
    prob = segment_scores(chain, segments).to(emissions.dtype).exp()
    chosen = prob.double() >= kinds.min_prob[kind]  # (S,)
    return Candidates(*(each[chosen] for each in (sentence, first, stop, kind, prob)))
