"""EpochTable: the table of epochs that a fit prints at the terminal."""

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_only
from rich.console import Console

from ner_lightning.data.sources import SAMPLE_FOLDER
from ner_lightning.runs.folder import Run, short
from ner_lightning.system.console import say
from ner_lightning.system.progress import Pace, stage
from ner_lightning.training.callbacks.live import LiveTable
from ner_lightning.training.callbacks.throughput import Throughput
from ner_lightning.training.module import NERModule
from ner_lightning.training.steps import optimizer_steps

KEYS = ("loss", "val/loss", "val/precision", "val/recall", "val/f1", "words", "minutes")
COLUMNS = (
    ("loss", 9, 4),
    ("val loss", 9, 4),
    ("val P", 8, 4),
    ("val R", 8, 4),
    ("val F1", 8, 4),
    ("words/s", 9, 0),
    ("minutes", 9, 1),
)


class EpochTable(Callback):
    """Shows what is trained on what, then the epochs: at a terminal a live table, else a line each.

    Where there is no bar, as in a log file, a line a minute says how far a long epoch is.

    Args:
        run: the run folder, to name it.
        vitals: knows the words a second; it must come before this callback.
        bar: whether something else shows how far an epoch is.
        live: whether to draw the live table.
    """

    def __init__(self, run: Run, vitals: Throughput, *, bar: bool = False, live: bool = False) -> None:
        self.run = run
        self.vitals = vitals
        self._bar = bar
        self._live = live
        self._pace = self._scoring = Pace("", 0)
        self._began = 0.0
        self._losses: Any = 0.0  # of the epoch's batches so far
        self._batches = 0
        self._before = 0.0  # seconds of the epoch before an interruption
        self._scores: dict[str, float] = {}  # of the epoch's last weights, once they are validated
        self._headed = False
        self._table: LiveTable | None = None

    def state_dict(self) -> dict[str, Any]:
        """What an epoch that is not over has come to."""
        seconds = self._before + time.perf_counter() - self._began
        return {"losses": float(self._losses), "batches": self._batches, "seconds": seconds} | {
            "scores": self._scores
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resumes within an epoch; at the start of one all of it is reset."""
        self._losses, self._batches = state_dict["losses"], state_dict["batches"]
        self._before, self._scores = state_dict["seconds"], state_dict["scores"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock, also of an epoch that is resumed, and prints what is about to happen."""
        self._start_clock(trainer)
        self._introduce(trainer, pl_module)

    def _start_clock(self, trainer: pl.Trainer) -> None:
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self._pace = Pace(f"epoch {trainer.current_epoch + 1}: batches", trainer.num_training_batches, done)
        self._began = time.perf_counter()

    @rank_zero_only
    def _introduce(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        about = self.run.read("run.json")
        for name, split in about["data"].items():
            entities = ", ".join(f"{count:,} {kind}" for kind, count in split["entities"].items())
            file = Path(split["origin"])  # or the name of a data set on the Hub
            origin = "bundled sample" if file.parent == SAMPLE_FOLDER else short(file)
            say(f"{name:<6}{split['sentences']:>8,} sentences: {entities}   ({origin})")
        share = f"{about['trained_parameters']:,} of {about['parameters']:,} parameters"
        say(f"{share} are trained; everything goes to {short(self.run.path)}")
        assert isinstance(pl_module, NERModule)
        settings = pl_module.settings
        if settings.adapters is not None and not settings.freeze_backbone:
            say("Adapters and the whole backbone are trained together, which is unusual.")
        if settings.runtime.compile:
            say("The layers are compiled on first use, which takes a minute or two.")
        if self._live and trainer.is_global_zero:
            self._table = LiveTable(Console(), optimizer_steps(trainer), trainer.global_step)
            self._table.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock of a new epoch."""
        self._start_clock(trainer)
        self._losses, self._batches, self._before = 0.0, 0, 0.0
        self._scores = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Moves the view on; in the live table losses are looked at only where they are logged anyway."""
        self._losses += outputs["shown"]
        self._batches += 1
        self._count(self._pace, index + 1)
        if self._table is not None:
            self._table.step = trainer.global_step
            if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
                self._table.now(_floats(trainer), str(trainer.current_epoch + 1))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says that scoring begins, unless it is part of an epoch."""
        self._scoring = Pace("validation batches", sum(trainer.num_val_batches))
        if trainer.state.fn == "validate":
            stage("Validating ...")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says that scoring begins."""
        self._scoring = Pace("test batches", sum(trainer.num_test_batches))
        stage("Testing ...")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        index: int,
        *_: Any,
    ) -> None:
        """Counts."""
        self._count(self._scoring, index + 1)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        index: int,
        *_: Any,
    ) -> None:
        """Counts."""
        self._count(self._scoring, index + 1)

    def _count(self, pace: Pace, done: int) -> None:
        if not self._bar:
            pace(done)

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the line of a validation within an epoch; the others' scores stand in their epoch's."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        scores = {name: value for name, value in _floats(trainer).items() if name.startswith("val/")}
        if trainer.is_last_batch:
            self._scores = scores
            return
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready / trainer.num_training_batches
        self._line(trainer, f"{trainer.current_epoch + done:.2f}", scores)

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's line, or adds it to the live table, with the scores of its last weights."""
        figures = {"words": self.vitals.words_per_second} if trainer.is_last_batch else {}
        self._line(trainer, str(trainer.current_epoch + 1), self._scores | figures)

    def _line(self, trainer: pl.Trainer, epoch: str, seen: dict[str, float]) -> None:
        """Adds what the epoch has come to, and shows it.

        Args:
            trainer: at work.
            epoch: how far the fit is.
            seen: scores, and what else is known.
        """
        trained = {name: value for name, value in _floats(trainer).items() if name.startswith("train/")}
        seen = trained | seen
        seen["loss"] = float(self._losses) / max(self._batches, 1)  # one batch's alone would jump about
        seen["minutes"] = (self._before + time.perf_counter() - self._began) / 60
        if self._table is not None:
            self._table.add(seen, epoch)
            return
        if not self._headed:
            self._headed = True
            say(f"{'epoch':>9}" + "".join(f"{name:>{width}}" for name, width, _ in COLUMNS))
        cells = (
            f"{seen[key]:>{width}.{digits}f}" if key in seen else f"{'-':>{width}}"
            for key, (_, width, digits) in zip(KEYS, COLUMNS, strict=True)
        )
        ends = trainer.max_epochs is not None and trainer.max_epochs > 0
        say(f"{epoch:>4}{f'/{trainer.max_epochs}' if ends else '':<5}" + "".join(cells))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves the live table as it is at the end."""
        self._stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Gives the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._table is not None:
            self._table.stop()
            self._table = None


def _floats(trainer: pl.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
