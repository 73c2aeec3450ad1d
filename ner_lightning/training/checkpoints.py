"""The checkpoints of a run, `best` and `last`, and how they are written: whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ner_lightning.errors import UserError
from ner_lightning.files import replacing
from ner_lightning.runs import BEST, LAST, Run, load_checkpoint
from ner_lightning.training.console import best_effort

MONITOR = "val/f1"
AGAIN = "ner-lightning fit --run {} --ckpt_path last"  # goes on with a run that was stopped


def checkpoints(run: Run) -> list[Callback]:
    """The checkpoints of a run: `best` by validation F1, and `last` after every epoch.

    `best` holds the weights of the best of all validations, also where an epoch has several: it is saved
    after a validation within an epoch, and otherwise at the end of the epoch.
    """
    options: dict[str, Any] = {
        "dirpath": run.checkpoints,
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
    }
    return [
        RunCheckpoint(filename=BEST, monitor=MONITOR, mode="max", save_top_k=1, **options),
        RunCheckpoint(filename=LAST, every_n_epochs=1, save_on_train_epoch_end=True, **options),
    ]


class RunCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that knows its best score again after the run folder was moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from an earlier part of the run; elsewhere than in its folder it starts afresh."""
        folder = str(self.dirpath)
        if not Path(folder, f"{BEST}.ckpt").is_file():
            return

        def here(path: str) -> str:
            return str(Path(folder, Path(path).name)) if path else path

        moved = {
            name: here(state_dict[name])
            for name in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        models = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"dirpath": self.dirpath, "best_k_models": models})


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint through a draft that is flushed and renamed; reads tensors and plain values.

    Args:
        run: the run folder; with its first `last`, `runs/last` comes to mean it.
        again: the command that goes on with a run; only a fit becomes `runs/last`.
    """

    def __init__(self, run: Run, again: str = AGAIN) -> None:
        self.run = run
        self.again = again

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        """Writes a checkpoint; where that fails the file before is left as it was.

        Raises:
            UserError: it cannot be written; where possible it is kept in the folder of temporary files.
        """
        file = Path(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_checkpoint(checkpoint, file)
        except OSError as error:
            raise UserError(_rescue(checkpoint, file, error, self.again)) from error
        if self.again == AGAIN and file.name == self.run.checkpoint(LAST).name:
            best_effort(self.run.path.parent.parent / LAST, self.run.point_last)

    def load_checkpoint(
        self, path: _PATH, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint to the CPU, and never runs code that it may hold.

        Raises:
            UserError: it is not a whole checkpoint of ner-lightning's.
        """
        return load_checkpoint(Path(path))


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Replaces a checkpoint file in one step.

    Raises:
        OSError: it cannot be written, for want of space for example.
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


def _rescue(checkpoint: Mapping[str, Any], file: Path, error: OSError, again: str) -> str:
    """Keeps a checkpoint elsewhere, and says where and how to go on."""
    go_on = again.format(file.parent.parent)
    failed = f"the checkpoint {file} cannot be written ({os.strerror(error.errno or errno.EIO)})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        failed = f"no space is left for {file}"
    kept = any(file.parent.glob("*.ckpt"))
    failed += "; the checkpoint before it is untouched." if kept else "."
    try:
        spare = Path(tempfile.mkdtemp(prefix="ner-lightning-"), file.name)
        write_checkpoint(checkpoint, spare)
    except OSError:
        if not kept:
            return f"{failed}\nNothing of the run could be kept; mend that and start it again."
        return f"{failed}\nMend that and continue from there with: {go_on}"
    names = " and ".join(dict.fromkeys((file.name, f"{LAST}.ckpt")))
    return f"{failed}\nIt is kept as {spare}. Mend that, copy it to {names} in {file.parent},\nthen: {go_on}"
