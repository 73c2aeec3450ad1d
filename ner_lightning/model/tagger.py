"""The tagger: Batch -> emissions -> loss, tags and probabilities; usable without Lightning."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.data.pretrained import Pretrained
from ner_lightning.data.schemes import LabelSet
from ner_lightning.model.backbone import (
    Attention,
    AttentionImplementation,
    Lora,
    adapt,
    checkpoint_activations,
    compile_layers,
    identity,
    load_backbone,
    verify_attention,
)
from ner_lightning.model.crf import CRF, viterbi
from ner_lightning.model.loss import LossWeights, word_losses

Pooling = Literal["first", "last", "mean"]
ILLEGAL = float("-inf")


@dataclass(frozen=True)
class Architecture:
    """Everything that decides which function a tagger computes; each field as at `NERModule`."""

    attention: Attention = "bidirectional"
    freeze_backbone: bool = True
    lora: Lora | None = None
    unfreeze_top: int = 0
    pooling: Pooling = "last"
    dropout: float = 0.1
    use_crf: bool = True
    constrained: bool = True


class Tagger(nn.Module):
    """A backbone, a linear layer from word vectors to tags, and a CRF or a softmax over them.

    Args:
        backbone: a transformers model, as `adapt` leaves it.
        labels: the label set.
        architecture: pooling, dropout, CRF and constraints are taken from it.
        weights: of the loss's parts.
        hidden_size: of the backbone.
        bf16: run the backbone in bf16.
    """

    def __init__(
        self,
        backbone: nn.Module,
        labels: LabelSet,
        architecture: Architecture,
        weights: LossWeights,
        hidden_size: int,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.bf16 = bf16
        self.labels = labels
        self.pooling = architecture.pooling
        self.constrained = architecture.constrained
        self.weights = weights
        self.dropout = nn.Dropout(architecture.dropout)
        self.head = nn.Linear(hidden_size, len(labels))
        # BIO2's rules as scores: 0 where legal, minus infinity where not.
        starts = torch.tensor(labels.legal_starts()) | (not self.constrained)
        moves = torch.tensor(labels.legal_transitions()) | (not self.constrained)
        self.register_buffer("start_scores", _scores(starts), persistent=False)
        self.register_buffer("move_scores", _scores(moves), persistent=False)
        self.register_buffer("end_scores", torch.zeros(len(labels)), persistent=False)
        self.crf = CRF(len(labels), starts, moves) if architecture.use_crf else None
        if self.crf is not None and weights.crf == 0:
            self.crf.requires_grad_(False)  # untouched by the loss; DDP minds idle parameters

    def forward(self, batch: Batch) -> Tensor:
        """Scores of each tag for each word, in fp32 whatever the precision of the backbone.

        Returns:
            emissions. *Shape:* (B, W, C)
        """
        hidden = self._hidden(batch)
        with torch.autocast(hidden.device.type, enabled=False):
            vectors = self._word_vectors(hidden, batch).to(self.head.weight.dtype)  # (B, W, D)
            emissions: Tensor = self.head(self.dropout(vectors))
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
        return parts

    def total(self, parts: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the parts."""
        return torch.stack([getattr(self.weights, name) * part for name, part in parts.items()]).sum()

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
        scores = torch.log_softmax(emissions.float(), dim=-1)
        return viterbi(scores, mask, self.start_scores, self.move_scores, self.end_scores)

    @torch.no_grad()
    def span_probabilities(
        self, emissions: Tensor, mask: Tensor, sentence: Tensor, start: Tensor, end: Tensor, kind: Tensor
    ) -> Tensor:
        """How probable each of S spans is.

        With a CRF: the marginal probability, over legal paths, that exactly this entity stands there.
        With a softmax: the product of its words' tag probabilities.

        Args:
            emissions: *Shape:* (B, W, C)
            mask: *Shape:* (B, W)
            sentence: the row of each span. *Shape:* (S,)
            start: first word. *Shape:* (S,)
            end: one past the last word. *Shape:* (S,)
            kind: entity type's number. *Shape:* (S,)

        Returns:
            *Shape:* (S,)
        """
        begin, inner = 1 + 2 * kind, 2 + 2 * kind
        if self.crf is not None:
            return self.crf.segment_log_probs(
                emissions, mask, sentence, start, end, begin, inner, inner
            ).exp()
        log_probs = torch.log_softmax(emissions.float(), dim=-1)
        sums = nn.functional.pad(log_probs.cumsum(1), (0, 0, 1, 0))  # (B, W + 1, C)
        inside = sums[sentence, end, inner] - sums[sentence, start + 1, inner]
        return (log_probs[sentence, start, begin] + inside).exp()

    def _hidden(self, batch: Batch) -> Tensor:
        """The backbone's last hidden states, (R, T, D)."""
        # A bf16 backbone with fp32 adapters computes in bf16, with or without a trainer around it.
        with torch.autocast(batch.input_ids.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            output: Any = self.backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask.long())
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _word_vectors(self, hidden: Tensor, batch: Batch) -> Tensor:
        """One vector a word, (B, W, D): here the windows of a long sentence are stitched."""
        flat = hidden.flatten(0, 1)  # (R T, D)
        if self.pooling == "first":
            return flat[batch.first]
        if self.pooling == "last":
            return flat[batch.last]
        sums = hidden.float().cumsum(1).flatten(0, 1)  # (R T, D)
        inclusive = sums[batch.last] - sums[batch.first] + flat[batch.first]
        return inclusive / (batch.last - batch.first + 1).unsqueeze(-1)


def build_tagger(
    pretrained: Pretrained,
    labels: LabelSet,
    architecture: Architecture,
    weights: LossWeights,
    *,
    bf16: bool = False,
    implementation: AttentionImplementation = "auto",
    device_type: str = "cpu",
    checkpointing: bool = False,
    compiled: bool = False,
    verify: bool = True,
    trust_remote_code: bool = False,
) -> tuple[Tagger, str]:
    """Loads the backbone and puts a tagger around it.

    Args:
        pretrained: where the backbone is.
        labels: the label set.
        architecture: what to build.
        weights: of the loss's parts.
        bf16: run the backbone in bf16, and keep in bf16 what of it is not trained.
        implementation: of attention.
        device_type: `cpu` or `cuda`, where it will run.
        checkpointing: recompute activations in the backward pass.
        compiled: compile each layer.
        verify: prove the direction of attention first.
        trust_remote_code: run code that comes with the weights.

    Returns:
        the tagger, and a word for the exact weights of its backbone.
    """
    model = load_backbone(
        pretrained,
        attention=architecture.attention,
        dtype=torch.bfloat16 if bf16 else torch.float32,
        implementation=implementation,
        device_type=device_type,
        trust_remote_code=trust_remote_code,
    )
    weights_id = identity(pretrained, model)
    config: Any = model.config
    text = config.get_text_config()
    if verify:
        verify_attention(model, architecture.attention, text.vocab_size)
    model = adapt(
        model,
        freeze=architecture.freeze_backbone,
        lora=architecture.lora,
        unfreeze_top=architecture.unfreeze_top,
    )
    if checkpointing:
        checkpoint_activations(model)
    if compiled:
        compile_layers(model)
    return Tagger(model, labels, architecture, weights, text.hidden_size, bf16), weights_id


def _scores(legal: Tensor) -> Tensor:
    return torch.zeros(legal.shape).masked_fill(~legal, ILLEGAL)
