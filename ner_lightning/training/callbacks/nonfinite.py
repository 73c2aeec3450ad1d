"""NonFiniteGuard: stops at a NaN or infinite loss or gradient, and explains out-of-memory errors."""

from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.errors import UserError
from ner_lightning.runs.checkpoint_file import load_checkpoint
from ner_lightning.runs.folder import LAST, Run, resume_command, short
from ner_lightning.system.out_of_memory import out_of_memory
from ner_lightning.training.callbacks.throughput import logs_step
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.randomness import gathered

SHOWN = 20  # sentences named in a message


class _Step(NamedTuple):
    """A training step whose loss and gradient are still to be checked."""

    number: int
    loss_is_finite: Tensor  # on this rank
    all_is_finite: Tensor  # loss and gradient, on all ranks
    sentences: Tensor


class NonFiniteGuard(Callback):
    """Stops at a loss or gradient that is NaN or infinite, and explains out-of-memory errors.

    It comes before everything that saves. On a GPU the loss is checked where it is read anyway, at
    logged steps and epoch ends, so that no step waits for it.

    Args:
        run: the run folder, to name its last good checkpoint.
        command: the command that writes the run.
    """

    def __init__(self, run: Run, command: str = "fit") -> None:
        self.run = run
        self.command = command
        self._batch: Batch | None = None
        self._fitting = self._training = False  # within a fit; within one of its training batches
        self._unchecked: list[_Step] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Batch, *_: Any) -> None:
        """Remembers the batch, and that there is something to resume."""
        self._batch, self._fitting, self._training = batch, True, True

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Batch, *_: Any, **__: Any
    ) -> None:
        """Remembers the batch."""
        self._batch, self._training = batch, False

    on_test_batch_start = on_validation_batch_start

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        """Notes whether loss and gradient are finite."""
        own = torch.isfinite(outputs["loss"].detach())
        everywhere = torch.isfinite(outputs["shown"])  # the mean of all ranks
        norm = trainer.callback_metrics.get("train/grad_norm")
        if norm is not None:  # the last step's: the same on all ranks
            everywhere = everywhere & torch.isfinite(norm)
        self._unchecked.append(_Step(trainer.global_step, own, everywhere, batch.index))
        if own.device.type == "cpu" or trainer.is_last_batch or logs_step(trainer):
            self._check(trainer)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Prevents saving weights that are NaN or infinite."""
        self._check(trainer)

    def _check(self, trainer: pl.Trainer) -> None:
        steps, self._unchecked = self._unchecked, []
        bad = next((step for step in steps if not bool(step.all_is_finite)), None)
        if bad is not None:
            raise UserError(_not_finite(bad, trainer.current_epoch) + self._how_to_resume())

    def explained(self, error: BaseException, data: CoNLLDataModule) -> UserError | None:
        """Explains an out-of-memory error in a batch, and names the settings to lower; None for others.

        Args:
            error: what was raised.
            data: for its batch sizes.
        """
        if out_of_memory(error) is None or self._batch is None:
            return None
        told = _too_large(self._batch, data, training=self._training)
        return UserError(told + (self._how_to_resume() if self._fitting else ""))

    def _how_to_resume(self) -> str:
        file = self.run.checkpoint(LAST)
        if not file.is_file():
            return "\nThere is no checkpoint yet."
        steps = load_checkpoint(file)["global_step"]
        resume = resume_command(self.run, self.command)
        return f"\nThe last good checkpoint is {short(file)}, after step {steps}: {resume}"


def _too_large(batch: Batch, data: CoNLLDataModule, *, training: bool) -> str:
    sentences, words = batch.mask.shape
    rows, width = batch.input_ids.shape
    shape = f"{sentences} sentences of up to {words} words, {rows} x {width} sub-tokens"
    batches = data.batches
    key, size = ("size", batches.size) if training else ("eval_size", batches.eval_size)
    if batches.tokens is not None:
        key, size = "tokens", batches.tokens
    lower = f"Lower data.batches.{key} (now {size})"
    if batches.tokens is None:
        lower += f" or set data.batches.tokens below {rows * width}"
    if training:
        lower += "; model.runtime.gradient_checkpointing saves memory, too"
    return f"out of memory in a batch of {shape}.\n{lower}."


def _not_finite(step: _Step, epoch: int) -> str:
    # A gradient that is not finite is so on all ranks, so all of them ask.
    ranks = gathered((not bool(step.loss_is_finite), step.sentences.tolist()))
    sentences = sorted(index for bad, indices in ranks if bad for index in indices)
    sentences = sentences or sorted(index for _, indices in ranks for index in indices)
    named = ", ".join(map(str, sentences[:SHOWN])) + (" ..." if len(sentences) > SHOWN else "")
    what = "the loss" if any(bad for bad, _ in ranks) else "the gradient"
    return (
        f"{what} is NaN or infinite at step {step.number}, epoch {epoch}; its batch holds the training "
        f"sentences {named} (from 0). Look at them, or lower model.optimizer.lr."
    )
