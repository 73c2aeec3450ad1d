"""The tagger: Batch -> emissions -> loss, tags and probabilities; usable without Lightning."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.data.schemes import LabelSet, spans
from ner_lightning.model.adapters import merge_adapters
from ner_lightning.model.crf.layer import CRF
from ner_lightning.model.crf.segments import Segments
from ner_lightning.model.crf.viterbi import n_best, viterbi
from ner_lightning.model.dropout import Dropout, hidden_words, unread
from ner_lightning.model.extensions import LossPart
from ner_lightning.model.layer_split import LayerSplit
from ner_lightning.model.loss import word_losses
from ner_lightning.model.masks import hidden_states
from ner_lightning.model.settings import Architecture

ILLEGAL = float("-inf")


class EntitySpan(NamedTuple):
    """An entity in a sentence.

    Attributes:
        type: the entity type.
        start: its first word.
        end: one past its last word.
        probability: see `Tagger.span_probabilities`.
    """

    type: str
    start: int
    end: int
    probability: float


class Tagger(nn.Module):
    """A backbone, a linear layer from word vectors to tags, and a CRF or a softmax over them.

    Args:
        backbone: a transformers model, as `adapt` leaves it.
        labels: the label set.
        architecture: pooling, both dropouts, CRF, constraints and loss weights are taken from it.
        hidden_size: of the backbone.
        bf16: run the backbone in bf16.

    Attributes:
        temperature: what scores are divided by before they become the probabilities of spans, tags and
            sequences; the loss and the best tags do not mind it.
    """

    start_scores: Tensor
    move_scores: Tensor
    end_scores: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        labels: LabelSet,
        architecture: Architecture,
        hidden_size: int,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.bf16 = bf16
        self.temperature = 1.0
        self.hidden_size = hidden_size
        self.cut: LayerSplit | None = None  # where kept hidden states enter; see `FeatureCache`
        self.labels = labels
        self.pooling = architecture.pooling
        self.causal_below = architecture.causal_below
        self.constrained = architecture.constrained
        self.weights = architecture.weights
        self.loss_parts: Sequence[LossPart] = ()  # those of a project; see `extend`
        self.dropout = Dropout(architecture.dropout)
        self.word_dropout = architecture.word_dropout
        self.head = nn.Linear(hidden_size, len(labels))
        # BIO2's rules as scores: 0 where legal, minus infinity where not.
        starts = torch.tensor(labels.legal_starts()) | (not self.constrained)
        moves = torch.tensor(labels.legal_transitions()) | (not self.constrained)
        self.register_buffer("start_scores", _scores(starts), persistent=False)
        self.register_buffer("move_scores", _scores(moves), persistent=False)
        self.register_buffer("end_scores", torch.zeros(len(labels)), persistent=False)
        self.crf = CRF(len(labels), starts, moves) if architecture.use_crf else None
        if self.crf is not None and self.weights.crf == 0:
            self.crf.requires_grad_(False)  # untouched by the loss; DDP minds idle parameters

    def forward(self, batch: Batch) -> Tensor:
        """Scores of each tag for each word, in fp32 whatever the precision of the backbone.

        Returns:
            emissions. *Shape:* (B, W, C)
        """
        vectors = self.word_vectors(batch)  # (B, W, D)
        with torch.autocast(vectors.device.type, enabled=False):
            emissions: Tensor = self.head(self.dropout(vectors, self.head.weight.dtype))
        return emissions

    def losses(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The loss's parts, summed over words; those of weight zero are left out.

        Args:
            emissions: *Shape:* (B, W, C)
            tags: gold tag ids. *Shape:* (B, W)
            mask: true on real words. *Shape:* (B, W)
        """
        parts: dict[str, Tensor] = {}
        if self.weights.ce or self.weights.ls:
            softmax = word_losses(emissions, tags, mask)
            parts |= {name: softmax[name] for name in softmax if getattr(self.weights, name)}
        if self.crf is not None and self.weights.crf:
            parts["crf"] = -self.crf.log_likelihood(emissions, tags, mask).sum()
        return parts | {own.name: own(emissions, tags, mask) for own in self.loss_parts}

    def total(self, parts: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the parts."""
        weights = vars(self.weights) | {own.name: own.weight for own in self.loss_parts}
        return torch.stack([weights[name] * part for name, part in parts.items()]).sum()

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
        self, emissions: Tensor, mask: Tensor, places: Tensor, temperature: float | None = None
    ) -> Tensor:
        """How probable each of S spans is.

        With a CRF: the marginal probability, over legal paths, that exactly this entity stands there.
        With a softmax: the product of its words' tag probabilities.

        Args:
            emissions: *Shape:* (B, W, C)
            mask: *Shape:* (B, W)
            places: of each span its row, first word, one past its last word, and its entity type's number.
                *Shape:* (S, 4), long
            temperature: what scores are divided by; None takes the tagger's own.

        Returns:
            *Shape:* (S,)
        """
        sentence, start, end, kind = places.unbind(1)
        begin, inner = 1 + 2 * kind, 2 + 2 * kind
        temperature = self.temperature if temperature is None else temperature
        if self.crf is not None:
            segments = Segments(sentence, start, end, begin, inner, inner)
            return self.crf.segment_log_probs(emissions, mask, segments, temperature).exp()
        log_probs = torch.log_softmax(emissions.float() / temperature, dim=-1)
        sums = nn.functional.pad(log_probs.cumsum(1), (0, 0, 1, 0))  # (B, W + 1, C)
        inside = sums[sentence, end, inner] - sums[sentence, start + 1, inner]
        return (log_probs[sentence, start, begin] + inside).exp()

    @torch.no_grad()
    def marginals(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """Probability of each tag at each word: over legal paths with a CRF, the word's own without.

        Returns:
            probabilities, 0 on padding. *Shape:* (B, W, C)
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
    def entities(self, emissions: Tensor, mask: Tensor, tags: Tensor) -> list[list["EntitySpan"]]:
        """The entities that decoded tags spell, and how probable each is.

        Args:
            emissions: *Shape:* (B, W, C)
            mask: *Shape:* (B, W)
            tags: from `decode`. *Shape:* (B, W)

        Returns:
            a list for each sentence, in order of appearance.
        """
        lengths = mask.sum(1).tolist()
        found = [
            (row, span)
            for row, (ids, length) in enumerate(zip(tags.tolist(), lengths, strict=True))
            for span in spans(self.labels.decode(ids[:length]))
        ]
        kinds = {name: number for number, name in enumerate(self.labels.types)}
        places = torch.tensor(
            [(row, s.start, s.end, kinds[s.type]) for row, s in found],
            dtype=torch.long,
            device=emissions.device,
        ).reshape(-1, 4)
        chances = self.span_probabilities(emissions, mask, places).tolist()
        entities: list[list[EntitySpan]] = [[] for _ in lengths]
        for (row, span), chance in zip(found, chances, strict=True):
            entities[row].append(EntitySpan(span.type, span.start, span.end, chance))
        return entities

    @property
    def probability_name(self) -> str:
        """What the probability of an entity is."""
        return "softmax_product" if self.crf is None else "marginal"

    def merge(self) -> None:
        """Folds the adapters into the backbone: faster at inference, and the end of its training.

        The sums are made in fp32, and rounded only then if the backbone runs in bf16.
        """
        self.backbone = merge_adapters(self.backbone)
        if self.bf16:
            for parameter in self.backbone.parameters():  # no buffers: RoPE's frequencies stay exact
                parameter.data = parameter.data.to(torch.bfloat16)
            self.bf16 = False  # nothing is left for autocast to do

    def word_vectors(self, batch: Batch) -> Tensor:
        """One vector a word: here the windows of a long sentence are stitched.

        Returns:
            *Shape:* (B, W, D)
        """
        if batch.features is None:
            hidden = self.hidden(batch)  # (R, T, D)
        elif self.cut is None:
            return batch.features
        else:
            with self.cut.given(batch.features):
                hidden = self.hidden(batch)
        flat = hidden.flatten(0, 1)  # (R T, D)
        if self.pooling == "first":
            return flat[batch.first]
        if self.pooling == "last":
            return flat[batch.last]
        return _means(flat.float(), batch)

    def hidden(self, batch: Batch) -> Tensor:
        """The backbone's last hidden states.

        Returns:
            *Shape:* (R, T, D)
        """
        hides = self.training and self.word_dropout > 0
        hidden = hidden_words(batch, self.word_dropout) if hides else None
        with nullcontext() if hidden is None else unread(self.backbone, hidden):
            return hidden_states(self.backbone, batch, bf16=self.bf16)


def _means(flat: Tensor, batch: Batch) -> Tensor:
    """Each word's mean over its sub-tokens, which no other word shares; without waiting for the device.

    A difference of running sums would lose digits with each sub-token of a long row.

    Args:
        flat: hidden states in fp32. *Shape:* (R T, D)
        batch: whose words.

    Returns:
        *Shape:* (B, W, D)
    """
    real = batch.mask.flatten().long()
    number = real.cumsum(0) * real  # (B W,): words count from 1, in the order in which they stand in rows
    begun, ended = (real.new_zeros(len(flat) + 1) for _ in range(2))
    begun = begun.index_add_(0, batch.first.flatten(), real).cumsum(0)
    ended = ended.index_add_(0, batch.last.flatten() + 1, real).cumsum(0)
    owner = (begun * (begun > ended))[:-1]  # (R T,): the word of each sub-token, 0 where it is no word's
    sums = flat.new_zeros(len(number) + 1, flat.shape[1]).index_add(0, owner, flat)
    return sums[number].view(*batch.mask.shape, -1) / (batch.last - batch.first + 1).unsqueeze(-1)


def _scores(legal: Tensor) -> Tensor:
    return torch.zeros(legal.shape).masked_fill(~legal, ILLEGAL)
