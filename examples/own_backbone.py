"""Reads hidden states from a lower layer: the layers above it are taken off, which also saves their time."""

from torch import nn

from ner_lightning.errors import UserError
from ner_lightning.model.extend import Preparation


class FirstLayers(Preparation):
    """Keeps a decoder's first layers and the norm above them.

    Args:
        layers: how many.
    """

    def __init__(self, layers: int) -> None:
        self.layers = layers

    def __call__(self, backbone: nn.Module) -> nn.Module:
        """Takes the other layers off."""
        there = len(backbone.layers)
        if not 0 < self.layers <= there:
            raise UserError(f"FirstLayers: layers is {self.layers}, but the backbone has {there}")
        backbone.layers = backbone.layers[: self.layers]
        backbone.config.num_hidden_layers = self.layers
        return backbone
