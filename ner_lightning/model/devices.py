"""Where a model runs: the device that was asked for, if this machine has it."""

import os
import platform
import shutil
import sys
import sysconfig
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ner_lightning.errors import UserError
from ner_lightning.system.child_process import WORKER
from ner_lightning.system.cpu_features import cpu_features, is_intel_without_amx
from ner_lightning.system.progress import stage
from ner_lightning.system.terminal import counted

NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"  # 1: PyTorch asks NVML for GPUs, not CUDA; Lightning sets it
KNOWN = ("cpu", "cuda", "mps")
# Values of ONEDNN_MAX_CPU_ISA that keep PyTorch's library of products from bf16 instructions, and from AMX.
WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
WITHOUT_AMX = ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512")


def chosen_device(asked: str | None) -> str:
    """The device to run on.

    Args:
        asked: `cpu`, `cuda`, `cuda:N` or `mps`; None takes a CUDA GPU if there is one, else the CPU. For
            None and `cuda`, each of several workers takes a GPU, in turn.

    Raises:
        UserError: there is no such device, or not here.
    """
    if asked is None:
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    asked = str(asked)  # also a torch.device
    kind, _, number = asked.partition(":")
    if kind not in KNOWN or (number and not number.isdecimal()) or asked.endswith(":"):
        raise UserError(f"--device {asked} does not exist; there are {', '.join(KNOWN)} and cuda:N")
    if not has(kind):
        raise UserError(f"--device {asked}: {lacking(kind)}; leave it out, or use --device cpu")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if int(number or 0) >= count:
        raise UserError(f"--device {asked}: this machine has {count}, the last is {kind}:{count - 1}")
    if kind == "cuda":
        check_driver("--device cpu")
    if asked == "cuda" and WORKER in os.environ:
        return f"cuda:{int(os.environ[WORKER]) % count}"
    return asked


def as_current(device: str) -> AbstractContextManager[Any]:
    """Within it a GPU is CUDA's current one, onto which quantised weights are read; other devices have none.

    Args:
        device: as `chosen_device` returns it.
    """
    where = torch.device(device)
    return nullcontext() if where.type != "cuda" or where.index is None else torch.cuda.device(where)


def runs_in_bf16(asked: bool, device_type: str) -> bool:
    """Whether a backbone runs in bf16: not where bf16 is slower than fp32, since it is emulated.

    That is on many CPUs, and on NVIDIA GPUs before Ampere, such as the T4.

    Args:
        asked: whether it shall.
        device_type: `cpu`, `cuda` or `mps`, where it will run.
    """
    if device_type == "cpu":
        return asked and cpu_multiplies_bf16()
    return asked and (device_type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False))


@cache
def cpu_multiplies_bf16() -> bool:
    """Whether this CPU has fast instructions for products in bf16: AMX, AMD's AVX512_BF16, or ARM's.

    Without any PyTorch converts each number, and fp32 is 2 to 30 times as fast; with Intel's AVX512_BF16 and
    no AMX it is 1.4 times as fast (docs/benchmarks.md).
    """
    most = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if most in WITHOUT_BF16:
        return False
    features = cpu_features()
    if platform.machine() == "aarch64":
        return " bf16" in features
    if not torch.cpu._is_avx512_bf16_supported():  # which CPUs with AMX have, too
        return False
    hidden = most in WITHOUT_AMX and "GenuineIntel" in features
    return not hidden and not is_intel_without_amx(features)


def compiles(device_type: str) -> bool:
    """Whether layers can be compiled for a device, with a line about it; it could only fail at first use.

    Args:
        device_type: `cpu`, `cuda` or `mps`, where they will run.
    """
    lacking = _lacking_compiler(device_type)
    if lacking is None:
        stage("The layers are compiled on first use, which takes a minute or two.")
    else:
        stage(f"The layers run uncompiled, which is slower: there is {lacking}.")
    return lacking is None


def _lacking_compiler(device_type: str) -> str | None:
    """What PyTorch lacks here to compile for a device; None if it can."""
    if device_type == "cpu":  # as torch._inductor looks it up
        language, variable = "C++", "CXX"
        names = [os.environ.get(variable) or ("clang++" if sys.platform == "darwin" else "g++")]
    elif device_type == "cuda":  # as Triton looks up what compiles its launchers
        language, variable = "C", "CC"
        names = [os.environ[variable]] if variable in os.environ else ["gcc", "clang"]
    else:
        return None
    if not any(map(shutil.which, names)):
        return f"no {language} compiler {names[0]}; install it, or name another in {variable}"
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        return f"no {header}; install Python's headers, such as python3-dev"
    return None


def has(kind: str) -> bool:
    """Whether PyTorch can use a device of that kind here."""
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind != "mps" or bool(torch.backends.mps.is_available())


def lacking(kind: str) -> str:
    """Why there is none of a kind."""
    name = {"cuda": "CUDA GPU", "mps": "Apple GPU"}.get(kind, "GPU")
    built = kind != "cuda" or torch.version.cuda is not None or getattr(torch.version, "hip", None)
    return f"PyTorch finds no {name} here" if built else "this PyTorch is built without CUDA"


def check_driver(instead: str) -> None:
    """Checks that CUDA starts on a machine with a GPU.

    NVML also counts GPUs whose driver is too old for PyTorch. Where PyTorch asks CUDA it finds none of those.

    Args:
        instead: the option that does without.

    Raises:
        UserError: it does not start.
    """
    if os.environ.get(NVML) != "1":
        return
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise UserError(
            f"PyTorch cannot use this machine's GPU: {str(error).partition('. ')[0]}.\n"
            "Update the NVIDIA driver, or install a PyTorch that is built for an older one "
            f"(https://pytorch.org);\nuntil then use the CPU: {instead}"
        ) from None


def named_devices(asked: Any) -> list[str] | None:
    """The devices that a trainer's `devices` names one by one, as in `[0, 2]`, `0,2` or `0,`.

    Args:
        asked: `trainer.devices`.

    Returns:
        their indices; None for a number of devices, or `auto`.
    """
    if isinstance(asked, list):
        return [str(each) for each in asked]
    if "," not in str(asked):
        return None
    return [each.strip() for each in str(asked).split(",") if each.strip()]


def gpus() -> int:
    """How many GPUs this machine has: CUDA's, or the one that an accelerator of another kind is."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 1


def check_gpus(asked: Any) -> None:
    """Checks that a machine has the GPUs that a trainer shall use.

    Args:
        asked: `trainer.devices`: a number of them, or indices.

    Raises:
        UserError: it has fewer.
    """
    here = gpus()
    listed = named_devices(asked)
    numbers = [int(word) for word in listed or [str(asked)] if word.isdecimal()]
    if numbers and max(numbers) >= (here if listed is not None else here + 1):
        raise UserError(f"trainer.devices is {asked}, but this machine has {counted(here, 'GPU')}")
