"""What is checked before anything is loaded: accelerator, precision, devices, strategy."""

import os
from typing import Any

import torch
from lightning.pytorch.strategies import StrategyRegistry

from ner_lightning.data.configuration import check_unquantized
from ner_lightning.data.positions import window_length
from ner_lightning.data.pretrained import locate
from ner_lightning.data.readers.files import Inputs
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.split_files import check_one_split
from ner_lightning.errors import UserError
from ner_lightning.model.devices import (
    NVML,
    check_driver,
    check_gpus,
    gpus,
    has,
    lacking,
    named_devices,
    runs_in_bf16,
)
from ner_lightning.model.loss import Loss
from ner_lightning.system.child_process import usable_cores
from ner_lightning.system.precision import PRECISIONS, names_bf16
from ner_lightning.system.terminal import counted
from ner_lightning.system.user_paths import expanded
from ner_lightning.training.launch import LaunchError, launch

SUPPORTED_PRECISIONS = (*PRECISIONS, "32", 32, "64", 64, "bf16")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
REFUSED_STRATEGIES = ("fsdp", "deepspeed", "modelparallel", "model_parallel", "xla")


def check_config(config: Any) -> None:
    """Refuses what cannot work.

    Args:
        config: the parsed options of a subcommand.

    Raises:
        UserError: accelerator, precision, devices, or strategy cannot be used, all weights of the loss are
            zero, or the backbone cannot be loaded, is already quantised or has too few positions.
    """
    for name in ("train", "valid", "test"):
        if not isinstance(config.data[name], str | None):
            raise UserError(
                f"data.{name} must be one file or folder; join several with\n"
                "ner-lightning data convert A B --output all.jsonl"
            )
    _accelerator(config.trainer.accelerator)
    _precision(config.trainer.precision, str(config.trainer.accelerator))
    _devices(config.trainer.devices, str(config.trainer.accelerator))
    _strategy(config.trainer.strategy)
    loss = config.model.loss
    if not loss.parts:  # which are not made yet, and would count
        Loss(loss.ce, loss.crf, loss.ls, loss.kl).check_objective(config.model.use_crf)
    pretrained = locate(config.model.backbone, config.model.revision)
    trust = config.model.runtime.trust_remote_code
    check_unquantized(pretrained, trust_remote_code=trust)  # asks the Hub for access first
    window_length(config.data.encoding.max_length, pretrained, trust_remote_code=trust)


def check_split_files(data: Any) -> None:
    """Refuses files of splits that are not there: that of the test would be missed after the training only.

    Args:
        data: the parsed options of the data.

    Raises:
        UserError: there is no such file, or a folder has none that can be read, or those of several splits.
    """
    for name in ("train", "valid", "test"):
        if data[name] is not None and data.source is None:
            path = expanded(data[name])
            check_one_split(name, path)
            try:
                Inputs(str(path), ReadOptions(format=data.files.format)).files()
            except UserError as error:
                raise UserError(f"data.{name}: {error}") from None


def _strategy(strategy: Any) -> None:
    name = strategy if isinstance(strategy, str) else str(strategy.class_path)
    if any(word in name.lower() for word in REFUSED_STRATEGIES):
        raise UserError(
            f"trainer.strategy {name} is not supported; use auto or ddp: nothing need be sharded, since with "
            "LoRA\na backbone of 8B fits on one GPU, with 21 GiB in bf16 and 11 GiB in 4 bits "
            "(--model.quantization nf4)"
        )
    if isinstance(strategy, str) and strategy not in {"auto", *StrategyRegistry.available_strategies()}:
        raise UserError(f"trainer.strategy is {name}, which does not exist; use auto or ddp")


def _accelerator(accelerator: Any) -> None:
    if isinstance(accelerator, str) and accelerator not in ACCELERATORS:
        raise UserError(f"trainer.accelerator is {accelerator}; it must be one of {', '.join(ACCELERATORS)}")
    kinds = {"gpu": ("cuda", "mps"), "cuda": ("cuda",), "mps": ("mps",)}.get(str(accelerator), ())
    if kinds and not any(map(has, kinds)):
        raise UserError(
            f"trainer.accelerator is {accelerator}: {lacking(kinds[0])}; leave it out, or set it to cpu"
        )
    if str(accelerator) == "cpu":
        # Otherwise Lightning saves random states of GPUs that NVML counts, also where the driver is too old.
        os.environ[NVML] = "0"
    if _on_cuda(str(accelerator)):
        check_driver("--trainer.accelerator cpu")


def _precision(precision: Any, accelerator: str) -> None:
    if precision is None:
        return
    if precision not in SUPPORTED_PRECISIONS:
        raise UserError(
            f"trainer.precision {precision} is not supported: trained weights must stay in fp32.\n"
            "Use bf16-mixed (which also loads a frozen backbone in bf16) or 32-true."
        )
    on_mps = accelerator in {"auto", "gpu", "mps"} and torch.backends.mps.is_available()
    if "64" in str(precision) and on_mps:
        raise UserError(
            f"trainer.precision {precision}: an Apple GPU has no float64; use 32-true, "
            "or train on the CPU: --trainer.accelerator cpu"
        )
    if names_bf16(precision) and _on_cuda(accelerator) and not runs_in_bf16(True, "cuda"):
        raise UserError(
            f"trainer.precision {precision}: {torch.cuda.get_device_name()} has no bf16; use 32-true"
        )


def _devices(asked: Any, accelerator: str) -> None:
    """Without a GPU Lightning would start that many processes on the CPU."""
    launched = launch()
    if accelerator not in {"auto", "cpu"} or (accelerator == "auto" and _has_accelerator()):
        here = gpus()
        if launched is not None and launched.local > here:
            raise LaunchError(
                f"{launched.by} started {launched.local} processes on this machine, which has "
                f"{counted(here, 'GPU')}; start as many as there are, or train on the CPU: "
                "--trainer.accelerator cpu"
            )
        if launched is None:
            check_gpus(asked)
        return
    count = int(asked) if str(asked).isdecimal() else asked == "auto"
    if accelerator == "auto" and launched is None and (count > 1 or named_devices(asked)):
        raise UserError(
            f"trainer.devices is {asked}, but this machine has no GPU that PyTorch can use.\n"
            "Leave it out, or train on the CPU: --trainer.accelerator cpu --trainer.devices PROCESSES"
        )
    if count < 1:
        raise UserError(f"trainer.devices is {asked}; on a CPU it must be auto or a number of processes")
    cores = usable_cores()
    if count > cores:
        raise UserError(
            f"trainer.devices is {count}, but this machine has {counted(cores, 'CPU core')} for it"
        )


def _on_cuda(accelerator: str) -> bool:
    return torch.cuda.is_available() and accelerator in {"auto", "gpu", "cuda"}


def _has_accelerator() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()
