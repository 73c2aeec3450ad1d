"""A training step of the CRF uses only operators with a kernel for MPS, by PyTorch's own table."""

from pathlib import Path

import torch
import torchgen
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

from ner_lightning.model.crf.layer import CRF

TABLE = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"


class Recorded(TorchDispatchMode):
    """Collects the names of all operators."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def on_mps(name, table):
    """Whether an operator has a kernel for MPS, or is made of others."""
    entry = table[name]
    if entry.get("structured_delegate"):
        return on_mps(entry["structured_delegate"], table)
    kernels = ",".join(entry.get("dispatch", {"Composite": ""}))
    return "MPS" in kernels or "Composite" in kernels


def test_mps_has_kernels_for_a_training_step(recursion):
    crf = CRF(9)
    emissions = torch.randn(2, 5, 9, requires_grad=True)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    with Recorded() as recorded:
        crf.log_likelihood(emissions, torch.zeros(2, 5, dtype=torch.long), mask).sum().backward()
    entries = yaml.load(
        TABLE.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    table = {entry["func"].partition("(")[0]: entry for entry in entries}
    names = {name.removeprefix("aten::").removesuffix(".default") for name in recorded.names}
    assert len(names) > 10
    assert [name for name in sorted(names) if not on_mps(name, table)] == []
