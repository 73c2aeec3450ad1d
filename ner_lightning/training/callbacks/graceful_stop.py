"""GracefulStop: a run that is told to stop saves first, and can be resumed with the same result."""

import os
import signal
import subprocess
import threading
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_only

from ner_lightning.errors import Interrupted
from ner_lightning.runs.folder import LAST, Run, resume_command
from ner_lightning.system.console import say

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
VALIDATION = "epoch_loop.val_loop.batch_progress"


class GracefulStop(Callback):
    """Stops a run that is told to, once `LastCheckpoint` has saved it.

    Ctrl-C, SIGTERM and SIGUSR1 (which SLURM can send before a job's time is up) stop after the current
    step, on all ranks after the same one. A stop during validation saves the step before it, and the
    resumed run validates again; on several ranks it waits for the end of validation. A second Ctrl-C
    stops at once. After SIGUSR1, or another `requeue_signal` of Lightning's `SLURMEnvironment`, a SLURM job
    is requeued, unless its `auto_requeue` is false.

    Args:
        run: the run folder.
        command: the command that writes the run.

    Attributes:
        asked: the number of the signal that asked for a stop; 0 before.
        saved: whether the run was saved since.
    """

    def __init__(self, run: Run, command: str = "fit") -> None:
        self.run = run
        self.command = command
        self.asked = 0
        self.saved = False
        self._unvalidated = False  # whether a checkpoint is being saved within a validation
        self._before: dict[int, Any] = {}
        self._requeues, self._requeue_signal = True, signal.SIGUSR1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the signals over, also from Lightning, whose handlers save in the middle of a step."""
        cluster = _slurm(trainer)
        if cluster is not None:
            self._requeues = cluster.auto_requeue
            self._requeue_signal = cluster.requeue_signal or self._requeue_signal
        if threading.current_thread() is threading.main_thread():
            taken = {*SIGNALS, self._requeue_signal}
            self._before = {number: signal.signal(number, self._ask) for number in taken}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = number
        say("\nStopping after this step (Ctrl-C: at once) ...")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Asks the other ranks."""
        self._agree(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Asks the other ranks: each step may be followed by a validation."""
        if trainer.state.fn == "fit":
            self._agree(trainer)

    def _agree(self, trainer: pl.Trainer) -> None:
        """A signal to one rank is one to all of them."""
        if trainer.world_size > 1:
            asked = torch.tensor(float(self.asked), device=trainer.strategy.root_device)
            self.asked = int(trainer.strategy.reduce(asked, reduce_op="max"))

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Stops, now that the step before is logged as well."""
        if self.saved:
            raise Interrupted(self.asked)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any, *_: Any, **__: Any) -> None:
        """Stops before validation."""
        # Ranks may differ by a batch here, so several of them could not agree on where to stop.
        if self.asked and trainer.world_size == 1:
            self._unvalidated = True
            trainer.save_checkpoint(self.run.checkpoint(LAST))
            raise Interrupted(self.asked)

    on_validation_batch_end = on_validation_start  # and within it

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Notes in a checkpoint from within validation that validation is still to be done."""
        if self._unvalidated:
            # Lightning takes this for a crash in the first batch, and begins validation again.
            begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress: dict[str, Any] = checkpoint["loops"]["fit_loop"][VALIDATION]
            progress.update(total=begun, current=dict(begun), is_last_batch=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops after an epoch; checkpoint callbacks come after this."""
        self._agree(trainer)
        if self.asked:
            trainer.should_stop = True

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raises if the stop came before the run's own end."""
        if self.asked and trainer.current_epoch != trainer.max_epochs:
            raise Interrupted(self.asked)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Gives the signals back and prints how to resume."""
        self._release()
        stopped = isinstance(exception, KeyboardInterrupt | Interrupted) and trainer.state.fn == "fit"
        if stopped and trainer.is_global_zero:
            if self.run.checkpoint(LAST).is_file():
                say(f"Stopped. Resume with: {resume_command(self.run, self.command)}")
            else:
                say("Stopped before the first checkpoint.")
        if isinstance(exception, Interrupted) and exception.signal == self._requeue_signal and self._requeues:
            _requeue()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Gives the signals back."""
        self._release()

    def _release(self) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._ask:  # else Lightning has already put its own away
                signal.signal(number, handler)
        self._before = {}


def _slurm(trainer: pl.Trainer) -> SLURMEnvironment | None:
    """What a trainer was given of SLURM."""
    cluster = trainer._accelerator_connector.cluster_environment
    return cluster if isinstance(cluster, SLURMEnvironment) else None


@rank_zero_only
def _requeue() -> None:
    """Requeues a SLURM job."""
    environment = os.environ
    job = environment.get("SLURM_JOB_ID")
    if environment.get("SLURM_ARRAY_JOB_ID"):
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    if not job:
        return
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, timeout=60)
        say(f"Job {job} is requeued.")
    except (OSError, subprocess.SubprocessError) as error:
        say(f"Job {job} could not be requeued: {error}")
