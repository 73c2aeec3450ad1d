"""Where the time of a training's steps goes on a GPU, by kinds of kernels: a callback of gpu_speed.py."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

KINDS = {
    "matrix products": ("gemm", "nvjet", "cutlass", "xmma", "splitk"),
    "attention": ("flash", "fmha", "attention"),
    "compiled layers, all but products": ("triton",),
    "optimizer": ("adam", "multi_tensor"),
    "copies between host and device": ("memcpy", "memset"),
}
PROFILED = 8  # steps
REPORT = "GPU_SPEED_REPORT"
BEGIN = "GPU_SPEED_BEGIN"


def named(name: str, owner: Any, method: str) -> None:
    """Makes a method stand in the profile by a name."""
    original = getattr(owner, method)

    def wrapped(*args: Any, **options: Any) -> Any:
        with torch.profiler.record_function(name):
            return original(*args, **options)

    setattr(owner, method, wrapped)


class Kernels(Callback):
    """Profiles some steps of a fit; where their time went is written to the file in GPU_SPEED_REPORT."""

    def __init__(self) -> None:
        activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._profile = torch.profiler.profile(activities=activities)
        self._steps, self._begin = 0, int(os.environ[BEGIN])

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Names the loss, to find it in the profile."""
        named("the loss", pl_module.built.decoder, "losses")

    def on_train_batch_start(self, *_: Any) -> None:
        """Begins at the first step that counts."""
        if self._steps == self._begin:
            self._profile.start()
        self._steps += 1

    def on_train_batch_end(self, *_: Any) -> None:
        """Ends, and writes."""
        if self._steps != self._begin + PROFILED:
            return
        self._profile.stop()
        events: Any = self._profile.events()
        kernels = [event for event in events if event.device_type != torch.autograd.DeviceType.CPU]
        # Without a GPU there are no kernels, and operations on the host stand for them.
        kernels = [k for k in kernels if not k.is_user_annotation] or list(events)
        spent: Counter[str] = Counter()
        for kernel in kernels:
            name = kernel.name.lower()
            kind = next((k for k, parts in KINDS.items() if any(p in name for p in parts)), "other kernels")
            spent[kind] += kernel.time_range.elapsed_us()
        loss = sum(event.device_time_total for event in events if event.name == "the loss")
        began = min(kernel.time_range.start for kernel in kernels)
        whole = max(kernel.time_range.end for kernel in kernels) - began
        spent["no kernel at all"] = max(0, whole - sum(spent.values()))
        shares = {kind: 100 * time / whole for kind, time in spent.most_common()}
        found = {
            "step, milliseconds": whole / PROFILED / 1000,
            "loss, CRF included": 100 * loss / whole,
        } | shares
        Path(os.environ[REPORT]).write_text(json.dumps(found), encoding="utf-8")
