"""OpenVINOEmitter: runs a tagger's backbone and head with OpenVINO, which answers sooner on CPUs."""

import threading
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.errors import UserError
from ner_lightning.inference.engines.compiled_graphs import kept_compilation
from ner_lightning.inference.engines.packages import INPUTS, require
from ner_lightning.model.emitter import Emitter
from ner_lightning.model.tagger_settings import Cache, Pooling
from ner_lightning.model.word_vectors import pool


class OpenVINOEmitter(Emitter):
    """An emitter whose backbone and head are run by OpenVINO; pooling stays here.

    It uses as many threads as PyTorch would, and pins none of them to a core, which another process may use.

    Args:
        file: the graph.
        pooling: which of a word's sub-tokens represents it.
        bf16: compute in bf16 where the CPU can; otherwise in fp32.

    Raises:
        UserError: OpenVINO is not installed, or cannot read the file.
    """

    def __init__(self, file: Path, pooling: Pooling, *, bf16: bool) -> None:
        require("OpenVINO", "openvino", "openvino")
        super().__init__()
        self.file, self.pooling, self.bf16 = file, pooling, bf16
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,
        }
        if not bf16:  # otherwise what the CPU computes natively
            options["INFERENCE_PRECISION_HINT"] = "f32"
        try:
            compiled = _compiled(_core(), file, options)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(f"{file} cannot be read by OpenVINO: {reason}; export it again") from None
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()  # a request holds its own inputs and outputs

    def __reduce__(self) -> tuple[Any, ...]:
        # What OpenVINO has compiled cannot be copied: the copy reads the file again.
        made = partial(type(self), bf16=self.bf16)
        return made, (self.file, self.pooling), {"training": self.training}

    def forward(self, batch: Batch) -> Tensor:
        """The graph's scores of each sub-token, pooled by word. *Shape:* (B, W, C)."""
        inputs = (batch.input_ids, batch.attention_mask.long())
        given = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
        with self._lock:
            logits = torch.from_numpy(self._request.infer(given)[0].copy())
        return pool(logits, batch, self.pooling)


@cache
def _core() -> Any:
    """OpenVINO, once for the process.

    Each `Core` gives the thread that makes it a stack for signals, and takes it back with its end. Where
    several do not end in the reverse of their order, the thread is left with one that is freed, and the next
    signal, such as Ctrl-C, ends the process with SIGSEGV.
    """
    import openvino

    return openvino.Core()


def _compiled(core: Any, file: Path, options: dict[str, Any]) -> Any:
    """A graph compiled for the CPU, as it was kept of the last time if it can be read."""
    with suppress(RuntimeError, OSError), kept_compilation(file, options, Cache().path / "openvino") as more:
        return core.compile_model(file, "CPU", options | more)
    return core.compile_model(file, "CPU", options)
