"""What goes wrong in a batch, said so that a user can mend it: out of memory, a loss that is no number."""

import re
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
import torch.distributed
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.errors import UserError
from ner_lightning.runs.checkpoint_file import load_checkpoint
from ner_lightning.runs.folder import LAST, Run, short
from ner_lightning.training.callbacks.checkpoints import AGAIN
from ner_lightning.training.callbacks.throughput import logs_step
from ner_lightning.training.datamodule import CoNLLDataModule

_CPU_MEMORY = re.compile(r"DefaultCPUAllocator|not enough memory|[Cc]annot allocate memory|bad_alloc")
SHOWN = 20  # sentences named in a message


class _Seen(NamedTuple):
    """A training batch that may have gone wrong."""

    step: int
    own: Tensor  # whether this rank's loss is a number
    all: Tensor  # whether the gradient of all ranks is one as well
    sentences: Tensor


class NonFiniteGuard(Callback):
    """Stops at a loss or gradient that is no number, and explains a want of memory.

    It comes before everything that saves. On a GPU the loss is looked at where it is read anyway, at
    logged steps and epoch ends, so that no step waits for it.

    Args:
        run: the run folder, to name its last good checkpoint.
        again: the command that goes on with a run.
    """

    def __init__(self, run: Run, again: str = AGAIN) -> None:
        self.run = run
        self.again = again
        self._batch: Batch | None = None
        self._fitting = False
        self._seen: list[_Seen] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, *_: Any
    ) -> None:
        """Remembers the batch, and that there is something to continue."""
        self._batch, self._fitting = batch, True

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, *_: Any
    ) -> None:
        """Remembers the batch."""
        self._batch = batch

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, *_: Any
    ) -> None:
        """Remembers the batch."""
        self._batch = batch

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Looks whether loss and gradient are numbers."""
        own = torch.isfinite(outputs["loss"].detach())
        norm = trainer.callback_metrics.get("train/grad_norm")
        if norm is None:  # clipped by value
            everywhere = trainer.strategy.reduce((~own).float(), reduce_op="sum") == 0
        else:
            everywhere = own & torch.isfinite(norm)
        self._seen.append(_Seen(trainer.global_step, own, everywhere, batch.index))
        if own.device.type == "cpu" or trainer.is_last_batch or logs_step(trainer):
            self._look(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Lets no weights be saved that are no numbers."""
        self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        seen, self._seen = self._seen, []
        wrong = next((batch for batch in seen if not bool(batch.all)), None)
        if wrong is not None:
            raise UserError(_no_number(wrong, trainer.current_epoch) + self._go_on())

    def explained(self, error: BaseException, data: CoNLLDataModule) -> UserError | None:
        """What to lower if an error is a want of memory, None if it is another one.

        Args:
            error: what was raised.
            data: for the sizes that were set.
        """
        memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or (
            isinstance(error, RuntimeError) and _CPU_MEMORY.search(str(error)) is not None
        )
        if not memory:
            return None
        if self._batch is None:
            return UserError("out of memory before the first batch: the backbone needs more than there is")
        return UserError(_too_large(self._batch, data) + (self._go_on() if self._fitting else ""))

    def _go_on(self) -> str:
        file = self.run.checkpoint(LAST)
        if not file.is_file():
            return "\nThere is no checkpoint yet."
        steps = load_checkpoint(file)["global_step"]
        go_on = self.again.format(short(self.run.path))
        return f"\nThe last good checkpoint is {short(file)}, after step {steps}: {go_on}"


def _too_large(batch: Batch, data: CoNLLDataModule) -> str:
    sentences, words = batch.mask.shape
    rows, width = batch.input_ids.shape
    shape = f"{sentences} sentences of up to {words} words, {rows} x {width} sub-tokens"
    training = torch.is_grad_enabled()
    batches = data.batches
    key, size = ("size", batches.size) if training else ("eval_size", batches.eval_size)
    if batches.tokens is not None:
        key, size = "tokens", batches.tokens
    lower = f"Lower data.batches.{key} (now {size})"
    if batches.tokens is None:
        lower += f" or set data.batches.tokens below {rows * width}"
    lower += "; model.runtime.gradient_checkpointing saves memory, too."
    return f"out of memory in a batch of {shape}.\n{lower}"


def _no_number(wrong: _Seen, epoch: int) -> str:
    ranks = _all_ranks((not bool(wrong.own), wrong.sentences.tolist()))
    sentences = sorted(index for bad, indices in ranks if bad for index in indices)
    sentences = sentences or sorted(index for _, indices in ranks for index in indices)
    named = ", ".join(map(str, sentences[:SHOWN])) + (" ..." if len(sentences) > SHOWN else "")
    what = "the loss" if any(bad for bad, _ in ranks) else "the gradient"
    return (
        f"{what} is no finite number at step {wrong.step}, epoch {epoch}; its batch holds the training "
        f"sentences {named} (from 0). Look at them, or lower model.optimizer.lr."
    )


def _all_ranks(mine: tuple[bool, list[int]]) -> list[tuple[bool, list[int]]]:
    """What each rank has; a gradient that is no number is so on all ranks, so all of them ask."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    held: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(held, mine)
    return held
