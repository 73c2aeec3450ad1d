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
from ner_lightning.runs.folder import BEST, LAST, RESUME, Run
from ner_lightning.system.atomic import replacing
from ner_lightning.system.console import best_effort

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
    """Saves `last` at the end of each epoch, and where training ends within one.

    It comes after `BestCheckpoint`, whose score it holds.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._within = False  # whether the epoch that is being saved has batches left

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves."""
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._within = not trainer.is_last_batch
            trainer.save_checkpoint(self.run.checkpoint(LAST))

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Notes that an epoch has batches left, which Lightning takes for finished here."""
        if self._within:
            progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
            for counts in (progress["total"], progress["current"]):
                counts["processed"] -= 1


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
    resume = RESUME[command].format(file.parent.parent)
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
