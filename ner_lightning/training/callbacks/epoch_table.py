"""EpochTable: the table of epochs that a fit prints at the terminal."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_only
from rich.console import Console

from ner_lightning.data.pretrained import is_tagger
from ner_lightning.data.sources import SAMPLE_FOLDER
from ner_lightning.runs.folder import Run, short
from ner_lightning.system.console import say
from ner_lightning.system.progress import Pace, stage
from ner_lightning.system.terminal import most_frequent, shortlist
from ner_lightning.training.callbacks.epoch_progress import EpochProgress
from ner_lightning.training.callbacks.live import LiveTable
from ner_lightning.training.callbacks.steps_ahead import say_what_never_comes
from ner_lightning.training.callbacks.throughput import Throughput, logs_step
from ner_lightning.training.module import NERModule
from ner_lightning.training.optim import optimizer_steps

TYPES = 10  # in the line of a split
# Its cost grows with the square of the tags: on a core, a batch of 32 sentences takes the CRF 0.03 seconds
# with 50 types, 0.8 with 500 and 7 with 1,000, and uses 0.25 GB with 500 and 1 GB with 1,000.
MANY_TYPES = 500

# Title, key, width and digits of a column.
COLUMNS = (
    ("loss", "loss", 9, 4),
    ("val loss", "val/loss", 9, 4),
    ("val P", "val/precision", 8, 4),
    ("val R", "val/recall", 8, 4),
    ("val F1", "val/f1", 8, 4),
    ("words/s", "words", 9, 0),
    ("minutes", "minutes", 9, 1),
)


class EpochTable(Callback):
    """Prints what is trained on what, then the epochs: at a terminal a live table, otherwise a line each.

    Where there is no bar, as in a log file, a line a minute says how far a long epoch is.

    Args:
        run: the run folder, to name it.
        throughput: measures words/s; it must come before this callback.
        bar: whether something else shows how far an epoch is.
        live: whether to draw the live table.
    """

    def __init__(self, run: Run, throughput: Throughput, *, bar: bool, live: bool) -> None:
        self.run = run
        self.throughput = throughput
        self._bar = bar
        self._live = live
        self._epoch = EpochProgress(bar=bar)
        self._pace = Pace("", 0)  # of an evaluation
        self._scores: dict[str, float] = {}  # of the epoch's last weights, once they are validated
        self._headed = False
        self._table: LiveTable | None = None

    def state_dict(self) -> dict[str, Any]:
        """Sums and scores of an epoch that is not over."""
        return self._epoch.state_dict() | {"scores": self._scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resumes within an epoch; at the start of one all of it is reset."""
        self._epoch.load_state_dict(state_dict)
        self._scores = state_dict["scores"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock and prints what is about to happen."""
        self._epoch.resume(trainer)
        self._introduce(trainer, pl_module)

    @rank_zero_only
    def _introduce(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        about = self.run.read("run.json")
        for name, split in about["data"].items():
            counts = split["entities"]
            entities = shortlist([f"{counts[kind]:,} {kind}" for kind in most_frequent(counts, TYPES)], TYPES)
            file = Path(split["origin"])  # or the name of a data set on the Hub
            origin = "bundled sample" if file.parent == SAMPLE_FOLDER else short(file)
            say(f"{name:<6}{split['sentences']:>8,} sentences: {entities}   ({origin})")
        if teacher := about.get("teacher"):
            who, untagged = teacher["teacher"]["run"], teacher["text_sentences"]
            say(f"text  {untagged:>8,} sentences without tags; {who} is the teacher of these and of train")
        share = f"{about['trained_parameters']:,} of {about['parameters']:,} parameters"
        say(f"{share} are trained; everything goes to {short(self.run.path)}")
        assert isinstance(pl_module, NERModule)
        if is_tagger(pl_module.pretrained.name):
            say(f"The tagger {pl_module.pretrained.label} is trained further, with a new head.")
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            say_what_never_comes(trainer, pl_module.optimizer_settings)
        settings = pl_module.settings
        if settings.adapters is not None and not settings.freeze_backbone:
            say("Adapters and the whole backbone are trained together, which is unusual.")
        types = len(pl_module.labels.types)
        if settings.use_crf and types >= MANY_TYPES:
            say(
                f"{types:,} types make {len(pl_module.labels):,} tags, whose CRF may take most of the time: "
                "--model.use_crf false\n(or --config configs/with/softmax.yaml) leaves it out."
            )
        if self._live and trainer.is_global_zero:
            self._table = LiveTable(Console(), optimizer_steps(trainer), trainer.global_step)
            self._table.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock of a new epoch."""
        self._epoch.start(trainer)
        self._scores = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, index: int) -> None:
        """Counts; the live table reads losses only at steps at which they are logged anyway."""
        self._epoch.add(outputs["shown"], index)
        if self._table is not None:
            self._table.step = trainer.global_step
            if logs_step(trainer):
                self._table.now(_floats(trainer), str(trainer.current_epoch + 1))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints that scoring begins, unless it is part of an epoch."""
        self._pace = Pace("validation batches", sum(trainer.num_val_batches))
        if trainer.state.fn == "validate":
            stage("Validating ...")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints that scoring begins."""
        self._pace = Pace("test batches", sum(trainer.num_test_batches))
        stage("Testing ...")

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any, **__: Any
    ) -> None:
        """Counts."""
        if not self._bar:
            self._pace(batch_idx + 1)

    on_test_batch_end = on_validation_batch_end

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the line of a validation within an epoch; later scores are part of the epoch's line."""
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
        figures = {"words": self.throughput.words_per_second} if trainer.is_last_batch else {}
        self._line(trainer, str(trainer.current_epoch + 1), self._scores | figures)

    def _line(self, trainer: pl.Trainer, epoch: str, figures: dict[str, float]) -> None:
        """Shows an epoch, or the part of it up to a validation, with further figures."""
        trained = {name: value for name, value in _floats(trainer).items() if name.startswith("train/")}
        # The mean, since the loss of one batch would jump about.
        row = trained | figures | {"loss": self._epoch.loss, "minutes": self._epoch.minutes}
        if self._table is not None:
            self._table.add(row, epoch)
            return
        if not self._headed:
            self._headed = True
            say(f"{'epoch':>9}" + "".join(f"{title:>{width}}" for title, _, width, _ in COLUMNS))
        cells = (
            f"{row[key]:>{width}.{digits}f}" if key in row else f"{'-':>{width}}"
            for _, key, width, digits in COLUMNS
        )
        ends = trainer.max_epochs is not None and trainer.max_epochs > 0
        say(f"{epoch:>4}{f'/{trainer.max_epochs}' if ends else '':<5}" + "".join(cells))

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Leaves the live table as it is at the end."""
        if self._table is not None:
            self._table.stop()
            self._table = None

    on_exception = on_train_end


def _floats(trainer: pl.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
