"""Provenance: versions, machine and git commit, to reproduce a run."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ner_lightning.system.cpu_features import cpu_features, is_intel_without_amx

PACKAGES = (
    *("ner-lightning", "torch", "lightning", "transformers", "peft"),
    *("tokenizers", "torchmetrics", "datasets", "numpy"),
)

WORKING_FOLDER = "working_folder"  # of run.json: where relative paths of its settings are found


def now() -> str:
    """The time in the format of a run's files."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Versions, machine and git commit."""
    return {
        "versions": {"python": platform.python_version()} | package_versions(),
        "machine": machine(),
        "commit": git_commit(),
    }


def run_provenance() -> dict[str, Any]:
    """The same for `run.json`, with the folder in which relative paths of the settings are found."""
    return provenance() | {WORKING_FOLDER: str(Path.cwd())}


def package_versions() -> dict[str, str]:
    """The versions of the installed packages that a result depends on."""
    found = {package: _version(package) for package in PACKAGES}
    return {package: number for package, number in found.items() if number is not None}


@cache  # what is imported does not change, and each look takes a millisecond
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def machine() -> str:
    """The processor and its number of cores, and the GPUs if this process uses any."""
    model = platform.processor() or platform.machine()
    features = cpu_features()
    names = [line for line in features.split("\n") if "model name" in line]
    model = names[0].partition(":")[2].strip() if names else model
    if is_intel_without_amx(features):  # a virtual machine's processor may have the name of one with it
        model += " without AMX"
    torch, gpus = sys.modules.get("torch"), []
    # Asking for a name would start CUDA, which takes memory of the GPU, and which an old driver cannot.
    if torch is not None and torch.cuda.is_initialized():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return "; ".join([f"{model}, {os.cpu_count()} cores", *gpus])


def git_commit() -> str | None:
    """The commit of the working folder's repository, with `+changes` if the tree differs from it."""
    try:
        head, status = (
            subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
            for command in (
                ["git", "rev-parse", "HEAD"],
                ["git", "status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.strip() + ("+changes" if status.strip() else "")
