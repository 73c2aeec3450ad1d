"""Prediction: what evaluation and `Trainer.predict` give for a batch."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Prediction:
    """What an evaluation step hands to callbacks, and what `Trainer.predict` returns for each batch.

    Attributes:
        index: each sentence's position in its split. *Shape:* (B,)
        mask: true on real words. *Shape:* (B, W)
        gold: gold tag ids. *Shape:* (B, W)
        emissions: *Shape:* (B, W, C)
        tags: predicted tag ids. *Shape:* (B, W)
    """

    index: Tensor
    mask: Tensor
    gold: Tensor
    emissions: Tensor
    tags: Tensor

    def to(self, device: torch.device) -> "Prediction":
        """The same prediction on another device."""
        return Prediction(*(getattr(self, field.name).to(device) for field in fields(self)))
