"""Monitors: what a fit logs, and whether the callbacks of a recipe watch something that is logged."""

import difflib
import re
from collections.abc import Collection
from typing import Any

from ner_lightning.commands.options.trainer_options import class_specs, name_of
from ner_lightning.errors import UserError
from ner_lightning.system.progress import stage

SCORES = ("precision", "recall", "f1")  # of all entities, and of each type
RISE = ("accuracy", *SCORES)  # scores that are better when higher
OF_TYPE = "val/(?:precision|recall|f1)/"
GRAD_NORM = "train/grad_norm"


def check_early(config: Any) -> None:
    """Checks what callbacks monitor, before the data are read, which name the entity types.

    Args:
        config: the parsed options of a subcommand.

    Raises:
        UserError: it is never logged, or the mode does not fit.
    """
    logged = _logged(config)
    unknown_yet = rf"{OF_TYPE}\S+" + (r"|train/\w+" if config.model.loss.parts else "")
    for callback in class_specs(config.trainer.callbacks):
        if not re.fullmatch(unknown_yet, _monitored(callback) or ""):  # `check_monitors` checks those
            _monitor(callback, logged)


def check_monitors(config: Any, types: Collection[str], parts: Collection[str]) -> None:
    """Raises UserError at a callback that monitors an unknown entity type or part of the loss."""
    logged = _logged(config)
    logged += [f"val/{score}/{name}" for score in SCORES for name in types]
    logged += [f"train/{part}" for part in parts]
    for callback in class_specs(config.trainer.callbacks):
        _monitor(callback, logged)
        monitor = _monitored(callback)
        if config.trainer.limit_val_batches == 0 and str(monitor).startswith("val/"):
            stage(
                f"trainer.callbacks: {name_of(callback)} monitors {monitor} and never acts, since "
                "trainer.limit_val_batches is 0."
            )


def _logged(config: Any) -> list[str]:
    """What is logged with every data set: of the loss the parts that are computed."""
    loss = config.model.loss
    parts = {
        "ce": loss.ce,
        "crf": loss.crf and config.model.use_crf,
        "ls": loss.ls,
        "kl": loss.kl and config.data.supervision.teacher is not None,
    }
    trained = [f"train/{name}" for name, weight in parts.items() if weight]
    return sorted([*(f"val/{part}" for part in ("loss", *RISE)), GRAD_NORM, "train/loss", *trained])


def _monitored(callback: Any) -> str | None:
    arguments = callback.get("init_args")
    return None if arguments is None else arguments.get("monitor")


def _monitor(callback: Any, logged: Collection[str]) -> None:
    """Checks that what a callback monitors is logged, and that its mode fits."""
    monitor, name = _monitored(callback), name_of(callback)
    if monitor is None:
        return
    if monitor not in logged:
        of_type = re.match(OF_TYPE, monitor)
        close = [] if of_type else difflib.get_close_matches(monitor, logged, n=1, cutoff=0.5)
        others = [score for score in logged if score.startswith(of_type[0])] if of_type else logged
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(others)}"
        raise UserError(f"trainer.callbacks: {name} monitors {monitor!r}, which is never logged; {hint}")
    mode = callback.init_args.get("mode")
    rises = re.match(OF_TYPE, monitor) or monitor.rpartition("/")[2] in RISE
    if monitor != GRAD_NORM and mode == ("min" if rises else "max"):  # of a norm neither is better
        raise UserError(
            f"trainer.callbacks: {name} has mode {mode}, but a {'higher' if rises else 'lower'} {monitor} is "
            f"better; set mode: {'max' if rises else 'min'}"
        )
