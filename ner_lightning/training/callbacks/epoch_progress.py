"""EpochProgress: mean loss, duration and position within an epoch, also of an epoch that is resumed."""

import time
from typing import Any

import lightning.pytorch as pl

from ner_lightning.system.progress import Pace


class EpochProgress:
    """Follows an epoch for the callback that prints its line.

    Args:
        bar: whether something else shows how far the epoch is; otherwise a line a minute does.
    """

    def __init__(self, *, bar: bool) -> None:
        self._bar = bar
        self._pace = Pace("", 0)
        self._losses: Any = 0.0  # sum over the batches so far
        self._batches = 0
        self._began = 0.0
        self._earlier = 0.0  # seconds of the epoch before an interruption

    def state_dict(self) -> dict[str, Any]:
        """Sums of the epoch so far."""
        return {"losses": float(self._losses), "batches": self._batches, "seconds": self.minutes * 60}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resumes within an epoch."""
        self._losses, self._batches, self._earlier = state["losses"], state["batches"], state["seconds"]

    def resume(self, trainer: pl.Trainer) -> None:
        """Starts the clock at the start of training, perhaps within an epoch."""
        self._start_clock(trainer, trainer.fit_loop.epoch_loop.batch_progress.current.ready)

    def start(self, trainer: pl.Trainer) -> None:
        """Starts a new epoch."""
        self._losses, self._batches, self._earlier = 0.0, 0, 0.0
        # Lightning still counts the batches of the epoch before.
        self._start_clock(trainer, 0)

    def _start_clock(self, trainer: pl.Trainer, done: int) -> None:
        self._pace = Pace(f"epoch {trainer.current_epoch + 1}: batches", trainer.num_training_batches, done)
        self._began = time.perf_counter()

    def add(self, loss: Any, index: int) -> None:
        """Adds a batch's loss, which is not waited for on a GPU."""
        self._losses += loss
        self._batches += 1
        if not self._bar:
            self._pace(index + 1)

    @property
    def loss(self) -> float:
        """The mean loss of the epoch's batches so far."""
        return float(self._losses) / max(self._batches, 1)

    @property
    def minutes(self) -> float:
        """How long the epoch has taken so far."""
        return (self._earlier + time.perf_counter() - self._began) / 60
