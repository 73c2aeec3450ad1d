"""Distillation: the divergence of a student from a teacher, exact over all tag sequences.

A tagger with a CRF, and an ensemble of such (mean emissions and transitions), is a linear chain; one with a
softmax is a chain without transitions. So either can teach either.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.teacher import TeacherTags
from ner_lightning.metrics.float64 import has_float64
from ner_lightning.model.crf.divergence import divergence, entropy
from ner_lightning.model.crf.inputs import Posterior, transition_matrix
from ner_lightning.model.crf.layer import CRF
from ner_lightning.model.crf.sums import posterior


def teacher_divergence(
    crf: CRF | None, emissions: Tensor, mask: Tensor, teacher: TeacherTags, weights: Tensor | None = None
) -> Tensor:
    """The divergence from a teacher's distribution over tag sequences to the student's, times T squared.

    Scores of both are divided by the temperature T; its square keeps the size of the gradient (Hinton et al.
    2015).

    Args:
        crf: the student's; None for a softmax at each word.
        emissions: the student's. *Shape:* (B, W, C)
        mask: True on words. *Shape:* (B, W)
        teacher: what the teacher says of the same words.
        weights: how much each sentence counts; None counts all the same. *Shape:* (B,)

    Returns:
        in nats, summed over sentences. *Shape:* ()
    """
    with torch.autocast(emissions.device.type, enabled=False):
        if crf is None:
            log_probs = torch.log_softmax(emissions.float() / teacher.temperature, dim=-1)  # (B, W, C)
            cross_entropy = -(teacher.marginals * log_probs).sum((1, 2))  # (B,)
            value = cross_entropy - teacher.entropy.to(log_probs.dtype)
        else:
            scored, scores = crf.path_scores(emissions, teacher.temperature)
            sums = Posterior(teacher.entropy, teacher.marginals, teacher.transitions)
            value = divergence(scored, mask, scores, sums, teacher.entropy)
    return (value if weights is None else value * weights).sum() * teacher.temperature**2


class Taught(NamedTuple):
    """A teacher's distribution over the tag sequences of a batch, in double precision where there is one.

    Attributes:
        marginals: *Shape:* (B, W, C)
        transitions: *Shape:* (B, C + 1, C + 1)
        entropy: in nats. *Shape:* (B,)
    """

    marginals: Tensor
    transitions: Tensor
    entropy: Tensor


@torch.no_grad()
def teach(
    crf: CRF | None, emissions: Tensor, mask: Tensor, labels: LabelSet, order: Tensor, temperature: float
) -> Taught:
    """A teacher's distribution over legal tag sequences.

    Args:
        crf: the teacher's; None for a softmax at each word.
        emissions: the teacher's. *Shape:* (B, W, C)
        mask: True on words. *Shape:* (B, W)
        labels: the student's.
        order: the teacher's number of each of the student's tags. *Shape:* (C,)
        temperature: T, which divides all scores.
    """
    dtype = torch.float64 if has_float64(emissions.device) else torch.float32
    if crf is None:
        zeros = emissions.new_zeros(len(labels), len(labels), dtype=dtype)
        scored, scores = emissions.to(dtype) / temperature, (zeros[0], zeros, zeros[0])
    else:
        scored, scores = crf.path_scores(emissions.to(dtype), temperature)
    # A teacher whose decoding is not constrained may give illegal sequences a probability; a student cannot.
    starts, moves = (torch.tensor(legal) for legal in (labels.legal_starts(), labels.legal_transitions()))
    start = scores[0][order].masked_fill(~starts.to(order.device), -math.inf)
    transitions = scores[1][order][:, order].masked_fill(~moves.to(order.device), -math.inf)
    end, scored = scores[2][order], scored[..., order]
    sums = posterior(scored, mask, start, transitions, end)
    matrix = transition_matrix(start, transitions, end)
    return Taught(sums.marginals, sums.transition_counts, entropy(sums, scored, mask, matrix))
