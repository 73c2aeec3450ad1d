"""`ner-lightning fit`, `validate` and `test`: run LightningCLI, and print the result."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException

from ner_lightning.commands.lightning_cli.library_warnings import without_library_notes
from ner_lightning.commands.lightning_cli.ner_cli import NERCLI
from ner_lightning.commands.lightning_cli.start import find_start
from ner_lightning.errors import UserError
from ner_lightning.runs.folder import Run, remove_empty
from ner_lightning.runs.provenance import now
from ner_lightning.system.console import best_effort, say
from ner_lightning.system.first_rank import is_first
from ner_lightning.system.progress import printed
from ner_lightning.training.launch import RUN_VARIABLE
from ner_lightning.training.loggers.wandb import finish_wandb
from ner_lightning.training.summary import show


def run(subcommand: str, args: Sequence[str], typed: Sequence[str] | None = None) -> Run:
    """Runs fit, validate or test.

    Args:
        subcommand: one of the three.
        args: its options.
        typed: the command line that the run keeps, if another command led here.

    Returns:
        the run: that of the checkpoint, or a new one.

    Raises:
        UserError: an option, a file or a setting is not as it must be.
        Interrupted: a signal stopped a fit, which was saved.
    """
    with (
        find_start(subcommand, args) as start,
        _cleaned_up(),
        start.run_lock,
        _lightning_errors(),
        without_library_notes(),
        printed("stdout"),
    ):
        cli = NERCLI(start, [subcommand, *args], typed)
        folder, fitted = cli.run_folder, subcommand == "fit"
        assert folder is not None
        if fitted and cli.trainer.is_global_zero:
            best_effort(folder.path / "run.json", lambda: folder.update("run.json", {"finished": now()}))
    if cli.trainer.is_global_zero:
        if fitted and start.checkpoint is not None and cli.trainer.global_step == cli.model.loaded_step:
            say(_already_done(cli))
        device, scored = cli.trainer.strategy.root_device, "test" if subcommand == "test" else "val"
        show(folder, scored, device, fitted=fitted, agreement=cli.agreement)
    return folder


def _already_done(cli: NERCLI) -> str:
    trainer: Any = cli.trainer
    if trainer.max_epochs is not None and trainer.current_epoch >= trainer.max_epochs > 0:
        return f"Nothing was trained: all {trainer.max_epochs} epochs are done (trainer.max_epochs)."
    return f"Nothing was trained: it ends at step {trainer.global_step:,}, which the checkpoint has reached."


@contextmanager
def _lightning_errors() -> Iterator[None]:
    """Turns what Lightning raises at a user's mistake, and its exit after Ctrl-C, into our own errors."""
    try:
        yield
    except (MisconfigurationException, ValueError) as error:
        if isinstance(error, ValueError) and not str(error).startswith(" `val_check_interval` ("):
            raise
        past = re.search(r"current_epoch=(\d+), but you have set Trainer\(max_epochs=", str(error))
        if past is not None:
            raise UserError(
                f"the run has done {int(past[1]) + 1} epochs already; set trainer.max_epochs above that"
            ) from None
        raise UserError(" ".join(str(error).split())) from None
    except SystemExit as stop:
        if stop.code == 1:  # Lightning's way out after Ctrl-C
            raise KeyboardInterrupt from None
        sys.stdout.flush()
        raise


@contextmanager
def _cleaned_up() -> Iterator[None]:
    """Ends W&B, and removes a run folder in which nothing was written."""
    try:
        yield
    finally:
        folder = os.environ.get(RUN_VARIABLE)
        finish_wandb(folder)
        if folder is not None and is_first():
            remove_empty(Run(Path(folder)))
