"""Sandbox: loggers, callbacks and profilers write inside the run folder only."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.profilers import PassThroughProfiler

from ner_lightning.commands.options.trainer_options import class_of, class_specs
from ner_lightning.errors import UserError
from ner_lightning.runs.folder import BEST, CHECKPOINTS, LAST

PATHS = ("save_dir", "dirpath", "dir", "root_dir", "filename")  # of Lightning's loggers and callbacks


def sandbox_outputs(trainer: Any, folder: Path, *, fits: bool) -> None:
    """Changes the parsed options of a trainer, so that its outputs go into the run folder.

    Args:
        trainer: the options.
        folder: of the run.
        fits: whether it trains: TensorBoard's curves of a resumed run then go on, instead of beside them.

    Raises:
        UserError: a path of a logger, callback or profiler leads out of it.
    """
    root = folder.resolve()
    for part in ("logger", "callbacks", "profiler"):
        for spec in class_specs(trainer.get(part)):
            arguments: Any = spec.get("init_args")
            if part == "callbacks" and arguments is not None:
                _spare_our_checkpoints(arguments, str(spec.class_path).rpartition(".")[2], root)
            if fits and arguments is not None and issubclass(class_of(spec), TensorBoardLogger):
                arguments["version"] = arguments.get("version") or 0
            for key in PATHS if arguments is not None else ():
                value: Any = arguments.get(key)
                if key not in arguments or (value is None and key != "save_dir"):
                    continue
                path = root / ("" if value in (None, ".") else str(value))
                if not path.resolve().is_relative_to(root):
                    name = str(spec.class_path).rpartition(".")[2]
                    raise UserError(
                        f"trainer.{part}: {name} has {key} {value}, which leads out of the run folder "
                        f"{folder}; leave it out, or name a folder inside"
                    )
                if key != "filename":
                    arguments[key] = str(path)


def _spare_our_checkpoints(arguments: Any, name: str, root: Path) -> None:
    """Refuses a callback that would write a checkpoint in the place of `best` or `last`."""
    where = root / str(arguments.get("dirpath") or CHECKPOINTS)
    written = {"last"} if arguments.get("save_last") else set()
    written.add(str(arguments.get("filename") or "").removesuffix(".ckpt"))
    if where.resolve() == root / CHECKPOINTS and (own := written & {BEST, LAST}):
        raise UserError(
            f"trainer.callbacks: {name} would overwrite the run's own checkpoint {min(own)}; give it a "
            "dirpath, such as dirpath: more_checkpoints"
        )


def keep_profile(trainer: Any, folder: Path) -> None:
    """Makes a trainer's profiler write its report to the run folder, not to a logger that is silenced."""
    profiler = trainer.profiler
    if not isinstance(profiler, PassThroughProfiler):
        profiler.dirpath = profiler.dirpath or folder
        profiler.filename = profiler.filename or "profile"
