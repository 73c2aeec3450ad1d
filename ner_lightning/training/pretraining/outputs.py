"""PretrainingFolder: prints the epochs of `pretrain`, and writes its run folder and model."""

import math
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_only

from ner_lightning.model.backbone import fingerprint
from ner_lightning.runs.folder import LAST, RECIPE, Run, short
from ner_lightning.runs.provenance import now, run_provenance
from ner_lightning.system.atomic import write_text
from ner_lightning.system.console import say
from ner_lightning.system.permissions import open_to_readers_of
from ner_lightning.system.progress import stage
from ner_lightning.training.callbacks.epoch_progress import EpochProgress
from ner_lightning.training.callbacks.throughput import Throughput, peak_memory
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.loggers.metrics_table import TableLogger
from ner_lightning.training.prediction_rows import describe_parameters, describe_split
from ner_lightning.training.pretraining.masked_words import Pretraining

MODEL = "model"  # the folder of the trained backbone, inside the run folder


class PretrainingFolder(Callback):
    """Shows the epochs, and writes what the run folder holds.

    Args:
        run: the folder.
        command: the command line that was typed.
        recipe: all settings as YAML, which a resumed run reads.
        asked: `mask_ratio`, and `text`: the texts beside the training data.
        table: the metrics table.
        throughput: measures words/s; it must come before this callback.
        bar: whether something else shows how far an epoch is.
    """

    def __init__(
        self,
        run: Run,
        command: Sequence[str],
        recipe: str,
        asked: Mapping[str, Any],
        table: TableLogger,
        throughput: Throughput,
        *,
        bar: bool,
    ) -> None:
        self.run = run
        self.command = list(command)
        self.recipe = recipe
        self.asked = dict(asked)
        self.table = table
        self.throughput = throughput
        self._rows: str | None = None
        self._epoch = EpochProgress(bar=bar)
        self._minutes = 0.0  # of the epochs before
        self._val_loss = math.nan  # of the last one

    def state_dict(self) -> dict[str, Any]:
        """The metrics table, minutes so far, the last validation loss, and sums of an unfinished epoch."""
        kept = {"table": self.table.text(), "minutes": self._minutes, "val_loss": self._val_loss}
        return kept | self._epoch.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resumes the run."""
        self._rows, self._minutes = state_dict["table"], state_dict["minutes"]
        self._val_loss = state_dict["val_loss"]
        self._epoch.load_state_dict(state_dict)

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes and prints what is known before the first step."""
        module, data = _parts(trainer)
        self.run.sweep()
        if self._rows is not None:
            self.table.take(self._rows)
        write_text(self.run.path / RECIPE, self.recipe)
        before = self.run.read("run.json")
        described = {name: describe_split(data, name) for name in ("train", "valid")}
        sizes = describe_parameters(module.built)
        about = run_provenance() | {
            "command": before.get("command", self.command),
            "started": before.get("started", now()),
            "backbone": {"name": module.settings.backbone, "weights": fingerprint(module.pretrained)},
            "data": described,
            "pretraining": self.asked,
        }
        self.run.write("run.json", about | sizes)
        for name, split in described.items():
            say(f"{name:<6}{split['sentences']:>8,} sentences; their tags are not used")
        for text in self.asked["text"]:
            say(f"text  {text['sentences']:>8,} sentences of {text['from']}")
        say(f"{sizes['trained_parameters']:,} of {sizes['parameters']:,} parameters are trained")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock, also of an epoch that is resumed."""
        self._epoch.resume(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock of a new epoch."""
        self._epoch.start(trainer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, index: int) -> None:
        """Counts."""
        self._epoch.add(outputs["shown"], index)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's line."""
        minutes = self._epoch.minutes
        self._minutes += minutes
        self._val_loss = loss = float(trainer.callback_metrics["val/loss"])
        say(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: loss {self._epoch.loss:.3f}, "
            f"validation loss {loss:.3f} (perplexity {math.exp(min(loss, 50)):,.1f}), "
            f"{self.throughput.words_per_second:,.0f} words/s, {minutes:.1f} minutes"
        )

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the model, and drops the checkpoint, which is several times its size."""
        module, data = _parts(trainer)
        if trainer.current_epoch != trainer.max_epochs:
            return  # it was stopped
        stage(f"Writing {short(self.run.path / MODEL)} ...")
        draft = self.run.path / f".{MODEL}.tmp"
        shutil.rmtree(draft, ignore_errors=True)
        module.built.save(draft)
        tokenizer: Any = data.corpus.encoder.tokenizer
        tokenizer.save_pretrained(draft)
        open_to_readers_of(self.run.path / "run.json", draft)
        shutil.rmtree(self.run.path / MODEL, ignore_errors=True)  # of an end that was cut short
        draft.replace(self.run.path / MODEL)
        about = self.run.read("run.json")
        result = {"epochs": trainer.current_epoch, "steps": trainer.global_step, "val_loss": self._val_loss}
        self.run.update(
            "run.json",
            {
                "pretraining": about["pretraining"] | result,
                "minutes": round(self._minutes, 1),
                "updated": now(),
                "peak_memory_bytes": peak_memory(trainer.strategy.root_device),
            },
        )
        self.run.checkpoint(LAST).unlink(missing_ok=True)


def _parts(trainer: pl.Trainer) -> tuple[Pretraining, CoNLLDataModule]:
    """The module and the data module of a trainer."""
    module: Any = trainer.lightning_module
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return module, data
