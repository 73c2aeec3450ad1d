"""What is checked before anything is loaded, and what parser errors mean to a user."""

import difflib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from ner_lightning.data.pretrained import locate
from ner_lightning.errors import UserError

SUPPORTED_PRECISIONS = ("32-true", "32", 32, "64-true", "64", 64, "bf16-mixed", "bf16")
REFUSED_STRATEGIES = ("fsdp", "deepspeed", "modelparallel", "model_parallel", "xla")
PATHS = ("save_dir", "dirpath", "dir", "root_dir", "filename")  # of Lightning's loggers and callbacks
PARTS = ("loss", "accuracy", "precision", "recall", "f1")
MONITORS = {f"val/{part}" for part in PARTS} | {
    f"train/{p}" for p in ("loss", "ce", "crf", "ls", "grad_norm")
}


def refuse(config: Any) -> None:
    """Stops what cannot work.

    Args:
        config: the parsed options of a subcommand.

    Raises:
        UserError: precision, strategy or a callback's monitor is not as it must be, or the backbone
            cannot be had.
    """
    _precision(config.trainer.precision, str(config.trainer.accelerator))
    strategy = config.trainer.strategy
    name = strategy if isinstance(strategy, str) else str(strategy.class_path)
    if any(word in name.lower() for word in REFUSED_STRATEGIES):
        raise UserError(f"trainer.strategy {name} is not supported; use auto or ddp")
    for callback in _listed(config.trainer.callbacks):
        _monitor(callback)
    _ = locate(config.model.backbone, config.model.revision).kwargs  # asks the Hub for access


def explain(message: str, keys: Collection[str]) -> str:
    """A parser's error in a line or two, with the key that was probably meant.

    Args:
        message: what jsonargparse says.
        keys: all keys that exist.
    """
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    text = " ".join(lines)
    text = re.sub(r"<class '(\w+)'>", r"\1", text).replace("typing.", "")
    text = re.sub(r"^Parser key \"config\": *", "--config: ", text)
    text = re.sub(r"^Parser key \"([\w.]+)\": *", r"\1: ", text)
    unknown = re.search(r"unrecognized arguments: --([\w.]+)", text) or re.search(
        r"(?:Key|[Oo]ption|[Kk]ey) ['\"]([\w.]+)['\"]", text
    )
    if unknown is not None:
        key = unknown[1]
        close = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
        if key not in keys:
            hint = f"; did you mean {close[0]}?" if close else "; --help lists them all"
            return f"there is no option {key}{hint}"
    return text if len(text) < 300 else text[:300] + " ..."


def _precision(precision: Any, accelerator: str) -> None:
    if precision is None:
        return
    if precision not in SUPPORTED_PRECISIONS:
        raise UserError(
            f"trainer.precision {precision} is not supported: what is trained must stay in fp32.\n"
            "Use bf16-mixed (the frozen backbone is then kept in bf16 all the same) or 32-true."
        )
    on_gpu = torch.cuda.is_available() and accelerator in {"auto", "gpu", "cuda"}
    if "bf16" in str(precision) and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(
            f"trainer.precision {precision}: {torch.cuda.get_device_name()} has no bf16; use 32-true"
        )


def confine(trainer: Any, folder: Path) -> None:
    """Puts what loggers, callbacks and the profiler write into the run folder.

    Args:
        trainer: the parsed options of the trainer; folders in it are changed.
        folder: the run folder.

    Raises:
        UserError: a path leads out of it.
    """
    root = folder.resolve()
    for part in ("logger", "callbacks", "profiler"):
        for one in _listed(trainer.get(part)):
            arguments: Any = one.get("init_args") if hasattr(one, "class_path") else None
            for key in PATHS if arguments is not None else ():
                value: Any = arguments.get(key)
                if key not in arguments or (value is None and key != "save_dir"):
                    continue
                path = root / ("" if value in (None, ".") else str(value))
                if not path.resolve().is_relative_to(root):
                    name = str(one.class_path).rpartition(".")[2]
                    raise UserError(
                        f"trainer.{part}: {name} has {key} {value}, which leads out of the run folder "
                        f"{folder}; leave it out, or name a folder inside"
                    )
                if key != "filename":
                    arguments[key] = str(path)


def _listed(given: Any) -> Iterator[Any]:
    if given is not None and not isinstance(given, bool | str):
        yield from given if isinstance(given, list) else [given]


def _monitor(callback: Any) -> None:
    arguments = callback.get("init_args")
    monitor = arguments.get("monitor") if arguments is not None else None
    if monitor is None:
        return
    name = str(callback.class_path).rpartition(".")[2]
    if monitor not in MONITORS and not re.fullmatch(r"val/f1/\S+", monitor):
        close = difflib.get_close_matches(monitor, sorted(MONITORS), n=1, cutoff=0.5)
        raise UserError(
            f"trainer.callbacks: {name} monitors {monitor!r}, which is never logged"
            + (f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(MONITORS))}")
        )
    falls = monitor.rpartition("/")[2] in {"loss", "ce", "crf", "ls"}
    if arguments.get("mode") == ("max" if falls else "min"):
        better = "lower" if falls else "higher"
        raise UserError(
            f"trainer.callbacks: {name} has mode {arguments.mode}, but a {better} {monitor} is better; "
            f"set mode: {'min' if falls else 'max'}"
        )
