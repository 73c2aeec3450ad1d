"""The checkpoints of a run, `best` and `last`, each written completely or not at all."""

import errno
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.callbacks import Checkpoint

from ner_lightning.errors import UserError
from ner_lightning.runs.checkpoint_file import load_checkpoint
from ner_lightning.runs.folder import BEST, LAST, Run, resume_command
from ner_lightning.system.atomic import replacing
from ner_lightning.system.console import best_effort
from ner_lightning.training.callbacks.graceful_stop import GracefulStop
from ner_lightning.training.callbacks.throughput import logs_step
from ner_lightning.training.loggers.metrics_table import TableLogger

MONITOR = "val/f1"


class BestCheckpoint(Checkpoint):
    """Saves `best`, and decides which validation that is: the first one with the highest F1.

    Whatever else is written of the best validation asks this callback, so that all of it is of the same
    weights. After an epoch's last step `best` is saved when the epoch ends; resuming it begins the next one.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.score = -math.inf
        self._due = False  # whether the epoch that is about to end was the best

    def state_dict(self) -> dict[str, Any]:
        """The highest F1 so far."""
        return {"score": self.score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resumes the run; outside its own folder no score counts."""
        if self.run.checkpoint(BEST).is_file():
            self.score = state_dict["score"]

    def improves(self, trainer: pl.Trainer) -> bool:
        """Whether the validation of a fit that has just ended is the best so far; the same on all ranks."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return False
        return float(trainer.callback_metrics[MONITOR]) > self.score

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves within an epoch; checkpoint callbacks come after all others."""
        if not self.improves(trainer):
            return
        self.score = float(trainer.callback_metrics[MONITOR])
        self._due = trainer.is_last_batch
        if not self._due:
            trainer.save_checkpoint(self.run.checkpoint(BEST))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves at the end of an epoch."""
        if self._due:
            self._due = False
            trainer.save_checkpoint(self.run.checkpoint(BEST))


class LastCheckpoint(Checkpoint):
    """Saves `last` at the end of each epoch, where training ends within one, and before a stop.

    It comes after `BestCheckpoint`, whose score it holds.

    Args:
        run: the run folder.
        stop: knows whether the run was told to stop.
        table: the metrics table, a part of each checkpoint.
        every: also save within an epoch, each time that so many steps are done.
    """

    def __init__(self, run: Run, stop: GracefulStop, table: TableLogger, every: int | None = None) -> None:
        self.run, self.stop, self.table, self.every = run, stop, table, every
        self._steps = 0
        self._intervals = 0  # that were over when a checkpoint was last saved
        self._within = False  # whether the epoch that is being saved has batches left

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts from the step that is resumed."""
        self._steps, self._intervals = trainer.global_step, self._over(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Saves between two steps, not among the batches of one; a validation, if it is next, comes first."""
        stepped, self._steps = trainer.global_step > self._steps, trainer.global_step
        if stepped and not _validates_next(trainer) and self._is_due(trainer):
            self._log_step(trainer)
            self._save_within(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves after a validation within an epoch."""
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if fitting and not trainer.is_last_batch and self._is_due(trainer):
            self._save_within(trainer)

    def _is_due(self, trainer: pl.Trainer) -> bool:
        return self.stop.asked > 0 or self._over(trainer) > self._intervals

    def _over(self, trainer: pl.Trainer) -> int:
        """How many intervals of `every` steps are over."""
        return trainer.global_step // self.every if self.every else 0

    def _save_within(self, trainer: pl.Trainer) -> None:
        self._intervals = self._over(trainer)
        trainer.save_checkpoint(self.run.checkpoint(LAST))
        self.stop.saved = self.stop.asked > 0

    def _log_step(self, trainer: pl.Trainer) -> None:
        """Puts the step's own row into the table, which Lightning does only after this."""
        if trainer.is_global_zero and logs_step(trainer):
            logged = {
                k: float(v) for k, v in trainer.logged_metrics.items() if k.startswith(("train/", "lr/"))
            }
            self.table.log_metrics(logged | {"epoch": trainer.current_epoch}, step=trainer.global_step - 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves."""
        self._intervals = self._over(trainer)
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._within = not trainer.is_last_batch
            trainer.save_checkpoint(self.run.checkpoint(LAST))

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Notes that an epoch has batches left, which Lightning takes for finished here."""
        if self._within:
            progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
            for counts in (progress["total"], progress["current"]):
                counts["processed"] -= 1


def _validates_next(trainer: pl.Trainer) -> bool:
    loop, interval = trainer.fit_loop.epoch_loop, trainer.val_check_batch
    if trainer.is_last_batch or not loop._should_check_val_epoch():
        return trainer.is_last_batch
    if interval is None or interval == float("inf"):
        return False
    done = loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx
    return (done + 1) % int(interval) == 0


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint to a draft that is flushed and renamed; reads tensors and plain values.

    Args:
        run: the run folder; with its first `last`, `runs/last` comes to mean it.
        command: the command that writes the run; only a fit becomes `runs/last`.
    """

    def __init__(self, run: Run, command: str = "fit") -> None:
        self.run = run
        self.command = command

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        """Writes a checkpoint; where that fails the file before is left as it was.

        Raises:
            UserError: it cannot be written; if possible it is saved in the folder of temporary files.
        """
        file = Path(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_checkpoint(checkpoint, file)
        except OSError as error:
            raise UserError(_rescue(checkpoint, file, error, self.command)) from error
        if self.command == "fit" and file.name == self.run.checkpoint(LAST).name:
            best_effort(self.run.path.parent.parent / LAST, self.run.point_last)

    def load_checkpoint(
        self, path: _PATH, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint to the CPU, and never runs code that it may hold.

        Raises:
            UserError: it is not a complete checkpoint of ner-lightning.
        """
        return load_checkpoint(Path(path))


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Replaces a checkpoint file in one step.

    Raises:
        OSError: it cannot be written, for example since the disk is full.
    """
    with replacing(path) as file:
        sink: Any = _Sink(file)
        try:
            torch.save(checkpoint, sink)
        except RuntimeError:
            if sink.error is not None:  # torch reports a failed write as an error of its own
                raise sink.error from None
            raise


class _Sink:
    """A file for torch.save that remembers why a write failed."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is not None:
            raise self.error
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _rescue(checkpoint: Mapping[str, Any], file: Path, error: OSError, command: str) -> str:
    """Saves a checkpoint elsewhere; returns a message that says where, and how to resume."""
    resume = resume_command(Run(file.parent.parent), command)
    failed = f"the checkpoint {file} cannot be written ({os.strerror(error.errno or errno.EIO)})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        failed = f"no space is left for {file}"
    has_earlier = any(file.parent.glob("*.ckpt"))
    failed += "; the checkpoint before it is untouched." if has_earlier else "."
    try:
        spare = Path(tempfile.mkdtemp(prefix="ner-lightning-"), file.name)
        write_checkpoint(checkpoint, spare)
    except OSError:
        if not has_earlier:
            return f"{failed}\nNothing of the run could be saved; fix that and start it again."
        return f"{failed}\nFix that and resume from there with: {resume}"
    names = " and ".join(dict.fromkeys((file.name, f"{LAST}.ckpt")))
    return f"{failed}\nIt is saved as {spare}. Fix that, copy it to {names} in {file.parent},\nthen: {resume}"
