"""A tagger's backbone and head as an ONNX graph, for CPUs: how it is written, and how it is run."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.model.architecture import Architecture
from ner_lightning.model.masks import attention_inputs
from ner_lightning.model.tagger import Tagger

INPUTS, OUTPUT = ("input_ids", "attention_mask"), "logits"
INSTALL = "pip install 'ner-lightning[onnx]'"


class _Graph(nn.Module):
    """What becomes the graph: sub-tokens in, the head's scores of each of them out.

    The head is linear, so that pooling its scores over a word is the same as scoring the pooled vector.
    """

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        self.backbone, self.head = tagger.backbone, tagger.head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        nothing = input_ids[:, :0]
        batch = Batch(input_ids, attention_mask.bool(), nothing, nothing, nothing, None, nothing)
        inputs = attention_inputs(self.backbone, batch, torch.float32)
        hidden: Any = self.backbone(input_ids=input_ids, **inputs)
        logits: Tensor = self.head(hidden.last_hidden_state)
        return logits


def write(tagger: Tagger, file: Path) -> None:
    """Writes the graph; its weights are in the file, or beside it where they exceed 2 GB.

    Inputs `input_ids` and `attention_mask`, *shape:* (R, T), long; output `logits`, *shape:* (R, T, C).

    Args:
        tagger: in fp32, its adapters merged.
        file: where to.

    Raises:
        UserError: the packages that this needs are not installed.
    """
    _need("onnx", "onnxscript")
    ids = torch.ones((2, 7), dtype=torch.long)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    axes = {name: {0: rows, 1: tokens} for name in INPUTS}
    size = sum(p.numel() * p.element_size() for p in tagger.parameters())
    with _quiet():
        torch.onnx.export(
            _Graph(tagger).eval(),
            (ids, mask),
            file,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=axes,
            dynamo=True,
            external_data=size > 1.8e9,
            verbose=False,
        )


class OnnxTagger(Tagger):
    """A tagger whose backbone and head are run by ONNX Runtime; pooling and decoding stay here.

    What comes out of the graph stands for hidden states of size C, which the head leaves as they are.

    Args:
        file: the graph.
        labels: the label set.
        architecture: pooling, CRF and constraints are taken from it.

    Raises:
        UserError: ONNX Runtime is not installed, or the file is not whole.
    """

    def __init__(self, file: Path, labels: LabelSet, architecture: Architecture) -> None:
        _need("onnxruntime")
        import onnxruntime

        super().__init__(nn.Identity(), labels, architecture, hidden_size=len(labels))
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(len(labels)))
            self.head.bias.zero_()
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

    def hidden(self, batch: Batch) -> Tensor:
        """The graph's scores of each sub-token. *Shape:* (R, T, C)."""
        feed = (batch.input_ids, batch.attention_mask.long())
        (logits,) = self.session.run(
            [OUTPUT], {name: tensor.numpy() for name, tensor in zip(INPUTS, feed, strict=True)}
        )
        return torch.from_numpy(logits)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says of its own workings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _need(*packages: str) -> None:
    from importlib.util import find_spec

    lacking = [name for name in packages if find_spec(name) is None]
    if lacking:
        raise UserError(f"ONNX needs {' and '.join(lacking)}, which is not installed.\nInstall: {INSTALL}")
