"""Writes a tagger as an ONNX graph."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.inference.engines.onnx import INPUTS, OUTPUT, _need, _quiet
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.masks import attention_inputs


class _Graph(nn.Module):
    """What becomes the graph: sub-tokens in, the head's scores of each of them out.

    The head is linear, so that pooling its scores over a word is the same as scoring the pooled vector.
    """

    def __init__(self, emitter: BackboneEmitter) -> None:
        super().__init__()
        self.backbone, self.head = emitter.backbone, emitter.head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        nothing = input_ids[:, :0]
        batch = Batch(input_ids, attention_mask.bool(), nothing, nothing, nothing, None, nothing)
        inputs = attention_inputs(self.backbone, batch, torch.float32)
        hidden: Any = self.backbone.model(input_ids=input_ids, **inputs)
        logits: Tensor = self.head(hidden.last_hidden_state)
        return logits


def write(emitter: BackboneEmitter, file: Path) -> None:
    """Writes the graph; its weights are in the file, or beside it where they exceed 2 GB.

    Inputs `input_ids` and `attention_mask`, *shape:* (R, T), long; output `logits`, *shape:* (R, T, C).

    Args:
        emitter: in fp32, its adapters merged.
        file: where to.

    Raises:
        UserError: the packages that this needs are not installed.
    """
    _need("onnx", "onnxscript")
    ids = torch.ones((2, 7), dtype=torch.long)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    axes = {name: {0: rows, 1: tokens} for name in INPUTS}
    size = sum(p.numel() * p.element_size() for p in emitter.parameters())
    with _quiet():
        torch.onnx.export(
            _Graph(emitter).eval(),
            (ids, mask),
            file,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=axes,
            dynamo=True,
            external_data=size > 1.8e9,
            verbose=False,
        )
