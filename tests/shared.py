"""What tests of several modules do alike: read rows, compare weights, stop a command, run a job on ranks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

JOBS = Path(__file__).with_name("rank_jobs.py")
# What Lightning warns of where a plain Trainer runs our modules.
PLAIN_TRAINER = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*:UserWarning",
    "ignore:.*sync_dist.*:UserWarning",
    "ignore:.*in eval mode.*:UserWarning",
    "ignore:Be aware that when using `ckpt_path`:UserWarning",
)


def json_rows(file: Path | str) -> list[Any]:
    """The rows of a file with an object of JSON on each line."""
    text = Path(file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")] if text else []


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two state dicts are alike, bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def stop_with_ctrl_c() -> NoReturn:
    raise KeyboardInterrupt


def stopping(monkeypatch: pytest.MonkeyPatch, after: int, stop: Callable[[], Any]) -> None:
    """Makes `predict` call `stop` when so many blocks are written."""
    from ner_lightning.inference.io.resumable import ResumableOutput

    real, calls = ResumableOutput.add, []

    def add(self: ResumableOutput, *given: Any) -> None:
        real(self, *given)
        calls.append(1)
        if len(calls) == after:
            stop()

    monkeypatch.setattr(ResumableOutput, "add", add)


def counted_forwards(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether gradients were on in each forward pass through a layer's attention from here on."""
    from transformers.models.llama.modeling_llama import LlamaAttention

    forward, calls = LlamaAttention.forward, []

    def counted(self: LlamaAttention, *args: Any, **kwargs: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LlamaAttention, "forward", counted)
    return calls


def job(name: str, folder: Path) -> dict[str, Any]:
    """What a job of `rank_jobs` found, which starts ranks of its own."""
    done = subprocess.run([sys.executable, JOBS, name, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return json.loads(done.stdout.splitlines()[-1])


class Evil:
    """What, when unpickled, makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)
