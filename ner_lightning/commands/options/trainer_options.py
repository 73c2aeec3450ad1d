"""Checks of the options of Lightning's Trainer, before anything is loaded."""

import os
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from traceback import walk_tb
from typing import Any

from lightning.fabric.plugins import CheckpointIO, Precision
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelPruning,
    ProgressBar,
)

from ner_lightning.commands.options.trainer_values import check_scored, check_values
from ner_lightning.errors import UserError
from ner_lightning.system.ranges import (
    AllOrSome,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    check_setting,
)
from ner_lightning.training.trainer_checks import AVERAGES, is_whole

# Lightning's own types are wider; outside of these it divides by zero, loops, or ignores the value.
RANGES: Mapping[str, Any] = {
    "num_nodes": PositiveInt,
    "min_epochs": NonNegativeInt | None,
    "max_epochs": AllOrSome | None,
    "min_steps": NonNegativeInt | None,
    "max_steps": AllOrSome,
    "check_val_every_n_epoch": PositiveInt | None,
    "num_sanity_val_steps": AllOrSome | None,
    "log_every_n_steps": NonNegativeInt | None,
    "accumulate_grad_batches": PositiveInt,
    "gradient_clip_val": NonNegativeFloat | None,
    "reload_dataloaders_every_n_epochs": NonNegativeInt,
}
# Variables by which a launcher names the machines, as Lightning reads them: torchrun and users, srun, jsrun,
# and mpirun, through mpi4py.
LAUNCHERS = ("MASTER_ADDR", "SLURM_NTASKS", "JSM_NAMESPACE_SIZE", "OMPI_COMM_WORLD_SIZE")
CLASSES = ("logger", "callbacks", "profiler", "plugins")  # options that name classes
REFUSED: Mapping[type, str] = {
    Precision: "set trainer.precision instead",
    CheckpointIO: "a run writes its own checkpoints",
    ProgressBar: "a run shows its own progress",
    BaseFinetuning: "settings of the model decide what is trained (freeze_backbone, peft, unfreeze_top)",
    ModelPruning: "checkpoints do not hold its masks",
    **AVERAGES,
    LearningRateFinder: "runs of a few steps compare rates",
}


def check_trainer(config: Any, *, fits: bool = True) -> None:
    """Refuses what cannot work.

    Args:
        config: the parsed options of a subcommand.
        fits: whether it trains.

    Raises:
        UserError: an option of the trainer is outside its range, is set by the command itself, or names a
            class that cannot be used.
    """
    trainer = config.trainer
    for name, kind in RANGES.items():
        check_setting(f"trainer.{name}", kind, trainer[name])
    check_values(trainer)
    for option in CLASSES:
        _classes(option, trainer[option], trainer.accumulate_grad_batches)
    for name in ("limit_train_batches", "max_epochs", "max_steps"):
        if fits and trainer[name] == 0 and not trainer.overfit_batches:
            raise UserError(f"trainer.{name} is 0, so there is nothing to train")
    check_scored(trainer, fits=fits)
    _loops(trainer)
    if fits:
        _agree(trainer)


def class_specs(given: Any) -> Iterator[Any]:
    """The classes that an option names, one or several; plain values such as true are left out."""
    for value in given if isinstance(given, list) else [given]:
        if hasattr(value, "class_path"):
            yield value


def class_of(spec: Any) -> type:
    """The class that an option names; of a function that makes one, `object`."""
    module, _, name = str(spec.class_path).rpartition(".")
    kind = getattr(import_module(module), name)
    return kind if isinstance(kind, type) else object


def name_of(spec: Any) -> str:
    """The name of the class that an option names, without its module."""
    return str(spec.class_path).rpartition(".")[2]


def _classes(option: str, given: Any, accumulated: int) -> None:
    """Refuses classes that bypass the checks, or that a run has already."""
    for spec in class_specs(given):
        kind, name = class_of(spec), name_of(spec)
        for base, reason in REFUSED.items():
            if issubclass(kind, base):
                raise UserError(f"trainer.{option}: {name} cannot be used: {reason}")
        if issubclass(kind, GradientAccumulationScheduler) and accumulated != 1:
            raise UserError(f"trainer.accumulate_grad_batches: {name} decides on it; leave it out")


def _loops(trainer: Any) -> None:
    """Refuses loops that would not start."""
    interval = trainer.val_check_interval
    if isinstance(interval, int | float) and not interval:
        raise UserError(
            "trainer.val_check_interval is 0; it must be a number of batches, a fraction of an epoch above "
            "0, or a time. For no validation: trainer.limit_val_batches 0"
        )
    if trainer.num_nodes > 1 and not trainer.plugins and not any(name in os.environ for name in LAUNCHERS):
        raise UserError(
            f"trainer.num_nodes is {trainer.num_nodes}, but no launcher names the machines.\n"
            "Start the command on each with srun or torchrun, or set MASTER_ADDR and NODE_RANK"
        )


def _agree(trainer: Any) -> None:
    """Refuses options of which one makes another one do nothing."""
    for unit in ("epochs", "steps"):
        least, most = trainer[f"min_{unit}"], trainer[f"max_{unit}"]
        if least and most is not None and 0 <= most < least:
            raise UserError(
                f"trainer.min_{unit} is {least}, but trainer.max_{unit} ends it after {most}; "
                "set it to at most that"
            )
    limit = trainer.limit_train_batches
    if trainer.overfit_batches and not is_whole(limit):
        raise UserError(
            f"trainer.limit_train_batches is {limit}, but trainer.overfit_batches decides on the batches; "
            "leave one of them out"
        )


def explain_missing(error: BaseException, trainer: Any) -> UserError | None:
    """Explains an error about a package that a logger, callback, profiler or plugin needs.

    Args:
        error: what ended the command.
        trainer: the parsed options of the trainer, None if they were not read.

    Returns:
        None for any other error.
    """
    if trainer is None:
        return None
    if isinstance(error, ModuleNotFoundError):
        frames = (frame for frame, _ in walk_tb(error.__traceback__))
        inside = {base.__name__ for frame in frames for base in type(frame.f_locals.get("self")).__mro__}
        problem, package = str(error), error.name
    else:  # jsonargparse has put it into a message
        pattern = r"Problem with given class_path '([\w.]+)':\s+(.+?)(?=\n\s*- |\nGiven|$)"
        match = re.search(pattern, str(error), re.S)
        if match is None or not re.search("No module named|pip install", match[2]):
            return None
        inside = {match[1].rpartition(".")[2]}
        problem, package = match[2], None
    for option in CLASSES:
        for name in map(name_of, class_specs(trainer[option])):
            if name in inside:
                return UserError(
                    f"trainer.{option}: {name} needs a package that is not installed.\n"
                    f"Install it: pip install {package or _package(problem, name)}"
                )
    return None


def _package(problem: str, name: str) -> str:
    """The package that an error of a class of this name is about."""
    if missing := re.search(r"No module named '(\w+)", problem):
        return missing[1]
    if quoted := [word for word in re.findall(r"`([\w-]+)`", problem) if word != name]:
        return str(quoted[0])
    hint = re.search(r"pip install (?:-U )?('[^']+'|[\w.-]+)", problem)
    return hint[1] if hint else problem
