"""Mixes the last layers: what is tagged is the mean of their hidden states, not the last one's alone."""

from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning import Preparation
from ner_lightning.model.backbone import find_layers


class MeanOfLayers(Preparation):
    """Puts the mean of a decoder's last layers into the norm above them.

    Args:
        layers: how many.
    """

    def __init__(self, layers: int) -> None:
        self.layers = layers

    def __call__(self, backbone: nn.Module) -> nn.Module:
        """Records the layers' outputs, and gives their mean to the norm."""
        outputs: dict[int, Tensor] = {}

        def keep(index: int, output: Any) -> None:
            outputs[index] = output[0] if isinstance(output, tuple) else output

        for index, layer in enumerate(find_layers(backbone)[-self.layers :]):
            layer.register_forward_hook(lambda _layer, _given, output, index=index: keep(index, output))
        backbone.norm.register_forward_pre_hook(lambda *_: (torch.stack([*outputs.values()]).mean(0),))
        return backbone
