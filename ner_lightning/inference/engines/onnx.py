"""Runs a tagger whose backbone and head are an ONNX graph, on CPUs."""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.model.settings import Architecture
from ner_lightning.model.tagger import Tagger

INPUTS, OUTPUT = ("input_ids", "attention_mask"), "logits"
INSTALL = "pip install 'ner-lightning[onnx]'"


class OnnxTagger(Tagger):
    """A tagger whose backbone and head are run by ONNX Runtime; pooling and decoding are done in torch.

    The graph's output takes the place of hidden states of size C, and the head is the identity.

    Args:
        file: the graph.
        labels: the label set.
        architecture: pooling, CRF and constraints are taken from it.

    Raises:
        UserError: ONNX Runtime is not installed, or cannot read the file.
    """

    def __init__(self, file: Path, labels: LabelSet, architecture: Architecture) -> None:
        require("onnxruntime")
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
        """The graph's scores for each sub-token. *Shape:* (R, T, C)."""
        feed = (batch.input_ids, batch.attention_mask.long())
        (logits,) = self.session.run(
            [OUTPUT], {name: tensor.numpy() for name, tensor in zip(INPUTS, feed, strict=True)}
        )
        return torch.from_numpy(logits)


def require(*packages: str) -> None:
    """Checks that packages are installed.

    Raises:
        UserError: some are not.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {' and '.join(missing)}, which is not installed.\nInstall: {INSTALL}")
