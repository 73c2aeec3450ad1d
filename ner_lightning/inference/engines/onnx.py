"""GraphEmitter: runs a tagger's backbone and head as an ONNX graph, for CPUs."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.errors import UserError
from ner_lightning.inference.engines.packages import INPUTS, OUTPUT, require
from ner_lightning.model.emitter import Emitter
from ner_lightning.model.tagger_settings import Pooling
from ner_lightning.model.word_vectors import pool


class GraphEmitter(Emitter):
    """An emitter whose backbone and head are run by ONNX Runtime; pooling stays here.

    Args:
        file: the graph.
        pooling: which of a word's sub-tokens represents it.

    Raises:
        UserError: ONNX Runtime is not installed, or cannot read the file.
    """

    def __init__(self, file: Path, pooling: Pooling) -> None:
        require("ONNX", "onnx", "onnxruntime")
        import onnxruntime

        super().__init__()
        self.file, self.pooling = file, pooling
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{file} cannot be read by ONNX Runtime: {reason}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        # A session cannot be copied: the copy reads the file again.
        return type(self), (self.file, self.pooling), {"training": self.training}

    def forward(self, batch: Batch) -> Tensor:
        """The graph's scores of each sub-token, pooled by word. *Shape:* (B, W, C)."""
        inputs = (batch.input_ids, batch.attention_mask.long())
        (logits,) = self.session.run(
            [OUTPUT], {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
        )
        return pool(torch.from_numpy(logits), batch, self.pooling)
