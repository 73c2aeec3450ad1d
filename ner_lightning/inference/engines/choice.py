"""Which engine computes emissions: the one that was asked for, or the faster one as measured at export."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args

from ner_lightning.errors import UserError
from ner_lightning.inference.engines.packages import installed, require
from ner_lightning.model.devices import chosen_device

EngineName = Literal["auto", "torch", "openvino"]
AUTO: Final = "auto"
TORCH: Final = "torch"
OPENVINO: Final = "openvino"
SENTENCE, BATCH = "sentence_ms", "words_per_second"  # what an export measures of each engine


class _Files(Protocol):
    """What decides."""

    @property
    def path(self) -> Path: ...
    @property
    def form(self) -> str: ...
    @property
    def engines(self) -> Mapping[str, Any] | None: ...


def place(
    files: _Files, device: str | None, engine: EngineName, *, bulk: bool = False
) -> tuple[str, EngineName]:
    """The device on which a tagger runs, and the engine that computes its emissions.

    Args:
        files: of the tagger.
        device: as of `chosen_device`; None is the CPU where OpenVINO was asked for.
        engine: `auto` takes PyTorch on a GPU and where there is no graph for OpenVINO, and otherwise the
            engine that was faster at export.
        bulk: whether full batches matter, rather than the time for one sentence.

    Returns:
        a device, and `torch` or `openvino`; `auto` for an ONNX graph, which has an engine of its own.

    Raises:
        UserError: the tagger has no such engine, it does not go with the device, or its package is not
            installed.
    """
    if engine not in get_args(EngineName):
        raise UserError(f"engine {engine!r} does not exist; there are {', '.join(get_args(EngineName))}")
    if files.form == "onnx":
        if device not in (None, "cpu"):
            raise UserError(f"--device {device}: {files.path} is an ONNX graph, which runs on the CPU")
        if engine != AUTO:
            raise UserError(f"--engine {engine}: {files.path} is an ONNX graph; leave out --engine")
        return "cpu", AUTO
    if engine == OPENVINO:
        _check_openvino(files, device)
        return "cpu", OPENVINO
    where = chosen_device(device)
    if engine == TORCH or files.engines is None or where != "cpu" or not installed("openvino"):
        return where, TORCH
    return where, faster(files.engines, bulk=bulk)


def faster(measured: Mapping[str, Any], *, bulk: bool) -> EngineName:
    """The faster engine of those that were measured.

    Args:
        measured: of each engine its seconds and rates; one without is not chosen.
        bulk: whether full batches matter, rather than the time for one sentence.
    """
    if TORCH not in measured or OPENVINO not in measured:
        return TORCH
    torch, openvino = measured[TORCH], measured[OPENVINO]
    better = openvino[BATCH] > torch[BATCH] if bulk else openvino[SENTENCE] < torch[SENTENCE]
    return OPENVINO if better else TORCH


def _check_openvino(files: _Files, device: str | None) -> None:
    if files.engines is None:
        raise UserError(
            f"--engine openvino: {files.path} has no graph for OpenVINO. Write a folder that has one:\n"
            f"ner-lightning export {shlex.quote(str(files.path))} --output DIR --format openvino"
        )
    if device not in (None, "cpu"):
        raise UserError(f"--engine openvino runs on the CPU; leave out --device {device}, or --engine")
    require("OpenVINO", "openvino", "openvino")
