"""Throughput: words/s, padding, peak memory and learning rates, logged like any other metric."""

import resource
import sys
import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from ner_lightning.data.batching import Batch

MEASURED = (
    "train/words_per_second",
    "train/subtokens_per_second",
    "train/peak_memory_gib",
)  # differ between any two runs


class Throughput(Callback):
    """Logs speed, memory and learning rates of a fit.

    `lr/backbone`, `lr/head`, `lr/crf` with the other training metrics; at each epoch's end
    `train/words_per_second` and `train/subtokens_per_second` over all ranks, `train/padding`, the share of
    padding among the sub-tokens of batches, and `train/peak_memory_gib`.

    Attributes:
        words_per_second: of the last epoch, over all ranks; validation is not counted.
    """

    def __init__(self) -> None:
        self.words_per_second = 0.0
        self._began = 0.0
        self._earlier = 0.0  # seconds of the epoch before an interruption
        self._paused: float | None = None  # when validation began within an epoch
        self._counts: torch.Tensor | None = None  # words, sub-tokens
        self._padded = 0  # sub-tokens, padding included

    def state_dict(self) -> dict[str, Any]:
        """Counts of an epoch that is not over; on several ranks those of the first one."""
        return {
            "counts": [] if self._counts is None else self._counts.tolist(),
            "padded": self._padded,
            "seconds": self._seconds(),
            "words_per_second": self.words_per_second,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resumes counting within an epoch."""
        if state_dict["counts"]:
            self._counts, self._padded = torch.tensor(state_dict["counts"]), state_dict["padded"]
        self._earlier, self.words_per_second = state_dict["seconds"], state_dict["words_per_second"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forgets the GPU memory that an earlier training of this process took."""
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock, also of a resumed epoch."""
        self._began = time.perf_counter()
        counts = torch.zeros(2, dtype=torch.long) if self._counts is None else self._counts
        self._counts = counts.to(pl_module.device)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock and the counts."""
        self._began, self._earlier = time.perf_counter(), 0.0
        self._counts = torch.zeros(2, dtype=torch.long, device=pl_module.device)
        self._padded = 0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Notes the rates of the step that comes; after it the schedule has set those of the next."""
        rates = {group["name"]: group["lr"] for group in trainer.optimizers[0].param_groups}
        self._rates = {f"lr/{name}": rate for name, rate in rates.items() if not name.endswith("_no_decay")}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        """Counts on the device, so that nothing waits for it."""
        assert self._counts is not None
        real = batch.attention_mask
        self._counts += torch.stack([batch.mask.sum(), real.sum()])
        self._padded += real.numel()
        if logs_step(trainer):
            for name, rate in self._rates.items():
                pl_module.log(name, rate, batch_size=1)
        if trainer.is_last_batch:
            self._log_epoch(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock."""
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock again."""
        self._began, self._paused = time.perf_counter() - (self._seconds() - self._earlier), None

    def _seconds(self) -> float:
        """Duration of the epoch so far, without validation."""
        now = time.perf_counter() if self._paused is None else self._paused
        return self._earlier + now - self._began

    def _log_epoch(self, trainer: pl.Trainer) -> None:
        """Logs the epoch's figures before its validation, so that the checkpoints after it hold them."""
        assert self._counts is not None
        counts = torch.cat([self._counts, self._counts.new_tensor([self._padded])])
        words, real, total = trainer.strategy.reduce(counts, reduce_op="sum").tolist()
        # The clock is read after the sums, for which a GPU must have finished its work.
        seconds = max(self._seconds(), 1e-9)
        self.words_per_second = words / seconds
        figures = {
            "train/words_per_second": self.words_per_second,
            "train/subtokens_per_second": real / seconds,
            "train/padding": 1 - real / total if total else 0.0,
            "train/peak_memory_gib": peak_memory(trainer.strategy.root_device) / 2**30,
        }
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step - 1)


def logs_step(trainer: Any, ahead: int = 0) -> bool:
    """Whether the step that a trainer has just done is logged; with `ahead` 1, the current one."""
    every = trainer.log_every_n_steps  # 0: at none
    return bool(every > 0 and (trainer.global_step + ahead) % every == 0)


def peak_memory(device: torch.device) -> int:
    """Bytes: the most memory allocated on a CUDA device; for any other the process's most resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # bytes on macOS, KiB elsewhere
