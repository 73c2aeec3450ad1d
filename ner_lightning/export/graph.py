"""Writes a tagger as an ONNX graph."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.export.quiet_export import silent_exporters
from ner_lightning.inference.engines.packages import INPUTS, OUTPUT, require
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.masks import attention_inputs


class BackboneGraph(nn.Module):
    """The module that becomes the graph: from sub-tokens to the head's scores for each.

    The head is linear, so pooling its scores over a word equals scoring the pooled vector.
    """

    def __init__(self, emitter: BackboneEmitter) -> None:
        super().__init__()
        self.backbone, self.head = emitter.backbone, emitter.head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Scores of each tag for each sub-token. *Shape:* (R, T) each to (R, T, C)."""
        nothing = input_ids[:, :0]
        batch = Batch(input_ids, attention_mask.bool(), nothing, nothing, nothing, None, nothing)
        inputs = attention_inputs(self.backbone, batch, torch.float32)
        hidden: Any = self.backbone.model(input_ids=input_ids, **inputs)
        logits: Tensor = self.head(hidden.last_hidden_state)
        return logits


def example() -> tuple[Tensor, Tensor]:
    """Inputs that a graph is made with. *Shape:* (R, T) each."""
    return torch.ones((2, 7), dtype=torch.long), torch.tensor([[1] * 7, [1] * 4 + [0] * 3])


def axes() -> dict[str, dict[int, Any]]:
    """The dimensions of each input whose size may differ from the example's: all of them."""
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    return {name: {0: rows, 1: tokens} for name in INPUTS}


def write(emitter: BackboneEmitter, file: Path) -> None:
    """Writes the graph; its weights are in the file, or beside it if they exceed 1.8 GB.

    Inputs `input_ids` and `attention_mask`, *shape:* (R, T), long; output `logits`, *shape:* (R, T, C).

    Args:
        emitter: in fp32, its adapters merged.
        file: the file to write.

    Raises:
        UserError: the packages that this needs are not installed.
    """
    require("ONNX", "onnx", "onnx", "onnxscript")
    size = sum(p.numel() * p.element_size() for p in emitter.parameters())
    with silent_exporters():
        torch.onnx.export(
            BackboneGraph(emitter).eval(),
            example(),
            file,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=axes(),
            dynamo=True,
            external_data=size > 1.8e9,
            verbose=False,
        )
