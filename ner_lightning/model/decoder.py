"""Decoder: from emissions to loss, tags, entities and probabilities, with a CRF or a softmax."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ner_lightning.data.schemes import LabelSet, spans
from ner_lightning.data.teacher import TeacherTags
from ner_lightning.model.crf.candidates import Kinds
from ner_lightning.model.crf.inputs import transition_matrix
from ner_lightning.model.crf.layer import CRF
from ner_lightning.model.crf.segments import Chain, Segments
from ner_lightning.model.crf.viterbi import n_best, viterbi
from ner_lightning.model.distillation import teacher_divergence
from ner_lightning.model.entity_spans import CandidateSpan, EntitySpan
from ner_lightning.model.extensions import loss_of
from ner_lightning.model.loss import Loss, word_losses
from ner_lightning.model.partial_tags import PartialTags
from ner_lightning.model.softmax_entities import products, softmax_candidates, softmax_chain

ILLEGAL = float("-inf")


class Decoder(nn.Module):
    """From emissions to loss, tags, entities and probabilities, with a CRF or a softmax at each word.

    Args:
        labels: the label set.
        use_crf: a CRF over the words; otherwise a softmax at each word.
        constrained: decode only legal BIO2 sequences.
        loss: the weights of the loss's parts, and a project's own parts.

    Attributes:
        temperature: divides scores before they become probabilities; loss and best tags ignore it.
    """

    start_scores: Tensor
    move_scores: Tensor
    end_scores: Tensor

    def __init__(
        self, labels: LabelSet, *, use_crf: bool = True, constrained: bool = True, loss: Loss | None = None
    ) -> None:
        super().__init__()
        self.labels, self.constrained = labels, constrained
        self.loss = loss or Loss()
        self._on_gold = self.loss.on_gold(use_crf)  # where no teacher is at hand
        self.temperature = 1.0
        # BIO2's rules as scores: 0 where legal, minus infinity where not.
        starts = torch.tensor(labels.legal_starts()) | (not constrained)
        moves = torch.tensor(labels.legal_transitions()) | (not constrained)
        self.register_buffer("start_scores", _scores(starts), persistent=False)
        self.register_buffer("move_scores", _scores(moves), persistent=False)
        self.register_buffer("end_scores", torch.zeros(len(labels)), persistent=False)
        self.crf = CRF(len(labels), starts, moves) if use_crf else None
        if self.crf is not None and self.loss.crf == self.loss.kl == 0:
            self.crf.requires_grad_(False)  # no gradient reaches it, and DDP refuses such parameters

    def losses(
        self,
        emissions: Tensor,
        tags: Tensor,
        mask: Tensor,
        *,
        partial: bool = False,
        weights: Tensor | None = None,
        teacher: TeacherTags | None = None,
    ) -> dict[str, Tensor]:
        """The loss's parts, summed over words; those of weight zero are left out.

        Args:
            emissions: *Shape:* (B, W, C)
            tags: gold tag ids; with `partial`, -1 where unknown. *Shape:* (B, W)
            mask: true on real words. *Shape:* (B, W)
            partial: whether some tags may be unknown: losses then sum over the possible ones.
            weights: how much each sentence counts; None counts all the same. *Shape:* (B,)
            teacher: what a teacher says of the tags.
        """
        parts: dict[str, Tensor] = {}
        loss = self._on_gold if teacher is None else self.loss
        given = self._partial(tags, mask) if partial else None
        if loss.ce or loss.ls:
            softmax = word_losses(emissions, tags, mask, given, weights)
            parts |= {name: softmax[name] for name in softmax if getattr(loss, name)}
        if self.crf is not None and loss.crf:
            likelihood = (
                self.crf.log_likelihood(emissions, tags, mask)
                if given is None
                else self.crf.evidence_log_likelihood(emissions, given.paths, mask)
            )
            parts["crf"] = -(likelihood if weights is None else likelihood * weights).sum()
        if teacher is not None:
            parts["kl"] = teacher_divergence(self.crf, emissions, mask, teacher, weights)
        tags, mask = (tags, mask) if given is None else (given.ids, given.known)
        return parts | {own.name: loss_of(own, emissions, tags, mask) for own in self.loss.own}

    def _partial(self, tags: Tensor, mask: Tensor) -> PartialTags:
        missed, count = self.loss.missed, len(self.labels)
        return PartialTags.of(tags, mask, count, missed=missed, constrained=self.constrained)

    def total(self, parts: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the parts."""
        return self._on_gold.total(parts)

    @torch.no_grad()
    def decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """The best tag sequence: Viterbi over legal paths, or the plain argmax if unconstrained.

        Returns:
            tag ids, 0 on padding. *Shape:* (B, W)
        """
        if self.crf is not None:
            return self.crf.decode(emissions, mask)
        if not self.constrained:
            return torch.where(mask, emissions.argmax(-1), 0)
        scores = self._log_softmax(emissions)
        return viterbi(scores, mask, self.start_scores, self.move_scores, self.end_scores)

    @torch.no_grad()
    def span_probabilities(
        self, emissions: Tensor, mask: Tensor, indices: Tensor, temperature: float | None = None
    ) -> Tensor:
        """The probability of each of S spans.

        With a CRF the marginal probability, over legal paths, that exactly this entity is read there; with a
        softmax the product of its words' tag probabilities. Where decoding is not constrained, an I- begins
        an entity, too, if the word before is not of it: both first tags are summed over.

        Args:
            emissions: *Shape:* (B, W, C)
            mask: *Shape:* (B, W)
            indices: row, first word, one past the last word, and entity type. *Shape:* (S, 4), long
            temperature: what scores are divided by; None takes the decoder's own.

        Returns:
            *Shape:* (S,)
        """
        sentence, start, end, kind = indices.unbind(1)
        segments = Segments(sentence, start, end, 1 + 2 * kind, 2 + 2 * kind)
        temperature = self.temperature if temperature is None else temperature
        if self.crf is not None:
            return self.crf.segment_log_probs(emissions, mask, segments, temperature).exp()
        return products(self._softmax_chain(emissions, mask, temperature), segments)

    @torch.no_grad()
    def marginals(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """Probability of each tag at each word: over legal paths with a CRF, the word's own without.

        *Shape:* (B, W, C), 0 on padding.
        """
        if self.crf is not None:
            return self.crf.marginals(emissions, mask, self.temperature)
        return self._log_softmax(emissions).exp().masked_fill(~mask.unsqueeze(-1), 0)

    @torch.no_grad()
    def n_best(self, emissions: Tensor, mask: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """The n most probable tag sequences, best first; only legal ones if constrained.

        Returns:
            tags *Shape:* (B, N, W) and log-probabilities *Shape:* (B, N); -inf: no such sequence.
        """
        if self.crf is not None:
            return self.crf.n_best(emissions, mask, n, self.temperature)
        scores = self._log_softmax(emissions)
        return n_best(scores, mask, n, self.start_scores, self.move_scores, self.end_scores)

    def _log_softmax(self, emissions: Tensor) -> Tensor:
        return torch.log_softmax(emissions.float() / self.temperature, dim=-1)

    @torch.no_grad()
    def entities(self, emissions: Tensor, mask: Tensor, tags: Tensor) -> list[list[EntitySpan]]:
        """The entities that decoded tags spell, each with its probability.

        Args:
            emissions: *Shape:* (B, W, C)
            mask: *Shape:* (B, W)
            tags: from `decode`. *Shape:* (B, W)

        Returns:
            a list for each sentence, in order of appearance.
        """
        lengths, ids = mask.sum(1).tolist(), tags.tolist()
        predicted = [
            (row, span)
            for row, length in enumerate(lengths)
            for span in spans(self.labels.decode(ids[row][:length]))
        ]
        kinds = {name: number for number, name in enumerate(self.labels.types)}
        found = [(row, span.start, span.end, kinds[span.type]) for row, span in predicted]
        indices = torch.tensor(found, dtype=torch.long, device=emissions.device).reshape(-1, 4)
        probabilities = self.span_probabilities(emissions, mask, indices).tolist()
        entities: list[list[EntitySpan]] = [[] for _ in lengths]
        for (row, span), probability in zip(predicted, probabilities, strict=True):
            entities[row].append(EntitySpan(span.type, span.start, span.end, probability))
        return entities

    @torch.no_grad()
    def candidates(
        self, emissions: Tensor, mask: Tensor, min_probs: Sequence[float]
    ) -> list[list[CandidateSpan]]:
        """Every entity whose probability is at least a threshold; they may share words.

        Args:
            emissions: *Shape:* (B, W, C)
            mask: *Shape:* (B, W)
            min_probs: the threshold of each entity type, above 0.

        Returns:
            a list for each sentence, by first word, last word and type.
        """
        number = torch.arange(len(self.labels.types))
        kinds = Kinds(1 + 2 * number, 2 + 2 * number, torch.tensor(min_probs, dtype=torch.float64))
        if self.crf is not None:
            *where, probability = self.crf.candidates(emissions, mask, kinds, self.temperature)
            priority = probability
        else:
            chain = self._softmax_chain(emissions, mask, self.temperature)
            on_host = Chain(*(each.cpu() for each in chain))
            *where, probability, priority = softmax_candidates(on_host, mask.cpu(), kinds)
        found: list[list[CandidateSpan]] = [[] for _ in range(len(mask))]
        rows = zip(*(each.tolist() for each in (*where, probability, priority)), strict=True)
        for row, start, end, kind, value, rank in sorted(rows):
            found[row].append(CandidateSpan(self.labels.types[kind], start, end, value, rank))
        return found

    def _softmax_chain(self, emissions: Tensor, mask: Tensor, temperature: float) -> Chain:
        matrix = transition_matrix(self.start_scores, self.move_scores, self.end_scores)
        return softmax_chain(emissions, mask, matrix, temperature)

    @property
    def probability_name(self) -> str:
        """What the probability of an entity is."""
        return "softmax_product" if self.crf is None else "marginal"


def _scores(legal: Tensor) -> Tensor:
    return torch.zeros(legal.shape).masked_fill(~legal, ILLEGAL)
