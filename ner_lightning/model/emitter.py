"""Emitters: from a batch to a score of each tag for each word, by one backbone or by several."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.model.adapters import keeping_trained, merge_adapters
from ner_lightning.model.backbone import Backbone
from ner_lightning.model.layer_split import LayerSplit
from ner_lightning.model.masks import hidden_states
from ner_lightning.model.quantization import is_quantized
from ner_lightning.model.tagger_settings import Architecture
from ner_lightning.model.word_vectors import pool


class Emitter(nn.Module, ABC):
    """From a batch to emissions, the scores of each tag for each word."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Emissions in fp32, whatever the precision of the backbone. *Shape:* (B, W, C)."""

    def merge(self) -> bool:
        """Folds adapters into the weights that they adapt, where there are any: faster at inference.

        Returns:
            whether weights are others now.
        """
        return False


class BackboneEmitter(Emitter):
    """A backbone, and a linear layer from its word vectors to tags.

    Args:
        backbone: as `adapt` leaves it.
        tags: number of tags, C.
        architecture: pooling and dropout are taken from it.
        adapter: PEFT's name of the adapters to use, where other emitters share the backbone.

    Attributes:
        split: where cached hidden states enter the backbone; None where nothing is cached, or word vectors.
    """

    def __init__(
        self, backbone: Backbone, tags: int, architecture: Architecture, adapter: str | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = architecture.pooling
        self.dropout = Dropout(architecture.dropout)
        self.head = nn.Linear(backbone.hidden_size, tags)
        self.adapter = adapter
        self.split: LayerSplit | None = None

    def forward(self, batch: Batch) -> Tensor:
        """Emissions in fp32, whatever the precision of the backbone. *Shape:* (B, W, C)."""
        return self._head(self.word_vectors(batch))

    def emissions(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Emissions from the backbone's last hidden states. *Shape:* (R, T, D) to (B, W, C)."""
        return self._head(pool(hidden, batch, self.pooling))

    def _head(self, vectors: Tensor) -> Tensor:
        """*Shape:* (B, W, D) to (B, W, C)."""
        with torch.autocast(vectors.device.type, enabled=False):
            emissions: Tensor = self.head(self.dropout(vectors, self.head.weight.dtype))
        return emissions

    def word_vectors(self, batch: Batch) -> Tensor:
        """One vector for each word. *Shape:* (B, W, D)."""
        if batch.features is not None and self.split is None:
            return batch.features
        features, split = batch.features, self.split
        given = nullcontext() if features is None or split is None else split.given(features)
        with given:
            return pool(self.hidden(batch), batch, self.pooling)

    def hidden(self, batch: Batch) -> Tensor:
        """The backbone's last hidden states. *Shape:* (R, T, D)."""
        if self.adapter is None:
            return hidden_states(self.backbone, batch)
        with self.backbone.lock, _active(self.backbone, self.adapter):
            return hidden_states(self.backbone, batch)

    def merge(self) -> bool:
        """Folds the adapters into the backbone, unless other emitters share it or it is quantised.

        The sums are made in fp32, and rounded only then if the backbone runs in bf16.
        """
        if self.adapter is not None or is_quantized(self.backbone.model):
            return False
        merge_adapters(self.backbone)
        if self.backbone.bf16:
            for parameter in self.backbone.parameters():  # no buffers: RoPE's frequencies stay exact
                parameter.data = parameter.data.to(torch.bfloat16)
            self.backbone.bf16 = False  # nothing is left for autocast to do
        return True


class EnsembleEmitter(Emitter):
    """The mean of several emitters.

    A CRF's score of a tag sequence is a sum of emissions and transitions, so the mean of several CRFs' scores
    is the score of one CRF with their mean emissions and their mean transitions. All of decoding,
    probabilities and calibration therefore works on an ensemble as on one tagger; its distribution is
    the normalised geometric mean of its members' (a product of experts, Hinton 2002).

    Args:
        members: the emitters; those that share a frozen backbone have adapters of their own in it.
    """

    def __init__(self, members: Sequence[BackboneEmitter]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, batch: Batch) -> Tensor:
        """The members' mean emissions. *Shape:* (B, W, C)."""
        return torch.stack([member(batch) for member in self.members]).mean(0)

    def merge(self) -> bool:
        """Folds each member's adapters into its backbone, where it has one of its own."""
        merged = [member.merge() for member in self.members]  # type: ignore[operator]
        return any(merged)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`; on a CPU one 64-bit random number decides on four values instead of one."""

    def forward(self, input: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Zeroes values at random and scales the others up, while training. *Shape:* any.

        Args:
            input: any floating point.
            dtype: of the result; values are zeroed before the conversion and scaled after it. None: input's.
        """
        dtype = dtype or input.dtype
        threshold = round(self.p * 2**16)
        if not self.training or not 0 < threshold < 2**16 or input.device.type != "cpu":
            return super().forward(input.to(dtype))
        draws = torch.empty(-(-input.numel() // 4), dtype=torch.long).random_(-(1 << 63), None)
        numbers = draws.view(torch.int16)[: input.numel()].view(input.shape)
        return (input * (numbers >= threshold - 2**15)).to(dtype).mul_(2**16 / (2**16 - threshold))


@contextmanager
def _active(backbone: Backbone, adapter: str) -> Iterator[None]:
    """Within it a backbone that several emitters share uses the adapters of one of them."""
    if backbone.model.active_adapter != adapter:
        with keeping_trained(backbone):
            backbone.model.set_adapter(adapter)
    yield
