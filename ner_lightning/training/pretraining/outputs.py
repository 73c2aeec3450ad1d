"""What a run of `pretrain` shows and writes: its epochs, its facts, and in the end the model."""

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_only

from ner_lightning.model.backbone import fingerprint
from ner_lightning.runs.folder import LAST, RECIPE, Run, short
from ner_lightning.runs.provenance import now, provenance
from ner_lightning.system.atomic import write_text
from ner_lightning.system.console import say
from ner_lightning.system.progress import Pace, stage
from ner_lightning.training.callbacks.throughput import Throughput, peak_memory
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.loggers.metrics_table import TableLogger
from ner_lightning.training.predictions import describe_split
from ner_lightning.training.pretraining.masked_words import Pretraining

MODEL = "model"  # the folder of what was learned, inside the run folder
AGAIN = "ner-lightning pretrain --run {}"  # goes on with a run that was stopped


class PretrainingFolder(Callback):
    """Shows the epochs, and writes what the run folder holds.

    Args:
        run: the folder.
        command: the command line that was typed.
        recipe: all settings as YAML, which a continued run reads.
        asked: the share of hidden words, and the texts beside the training data.
        table: the metrics table.
        vitals: knows the words a second; it must come before this callback.
        bar: whether something else shows how far an epoch is.
    """

    def __init__(
        self,
        run: Run,
        command: Sequence[str],
        recipe: str,
        asked: Mapping[str, Any],
        table: TableLogger,
        vitals: Throughput,
        *,
        bar: bool = False,
    ) -> None:
        self.run = run
        self.command = list(command)
        self.recipe = recipe
        self.asked = dict(asked)
        self.table = table
        self.vitals = vitals
        self._bar = bar
        self._rows: str | None = None
        self._pace = Pace("", 0)
        self._began = 0.0
        self._losses: Any = 0.0  # of the epoch's batches so far
        self._batches = 0
        self._before = 0.0  # seconds of the epoch before an interruption
        self._minutes = 0.0  # of the epochs before

    def state_dict(self) -> dict[str, Any]:
        """The metrics table, how long it took so far, and what an epoch that is not over has come to."""
        seconds = self._before + time.perf_counter() - self._began
        epoch = {"losses": float(self._losses), "batches": self._batches, "seconds": seconds}
        return {"table": self.table.text(), "minutes": self._minutes} | epoch

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from an earlier part of the run."""
        self._rows, self._minutes = state_dict["table"], state_dict["minutes"]
        self._losses, self._batches = state_dict["losses"], state_dict["batches"]
        self._before = state_dict["seconds"]

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes what is known before the first step, and says it."""
        module, data = _parts(trainer)
        self.run.sweep()
        if self._rows is not None:
            self.table.take(self._rows)
        write_text(self.run.path / RECIPE, self.recipe)
        parameters = list(module.built.parameters())
        total = sum(p.numel() for p in parameters)
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        before = self.run.read("run.json")
        described = {name: describe_split(data, name) for name in ("train", "valid")}
        backbone = {"name": module.settings.backbone, "weights": fingerprint(module.pretrained)}
        self.run.write(
            "run.json",
            provenance()
            | {
                "command": before.get("command", self.command),
                "started": before.get("started", now()),
                "backbone": backbone,
                "parameters": total,
                "trained_parameters": trained,
                "data": described,
                "pretraining": self.asked,
            },
        )
        for name, split in described.items():
            say(f"{name:<6}{split['sentences']:>8,} sentences, of which the words alone are used")
        for text in self.asked["text"]:
            say(f"text  {text['sentences']:>8,} sentences of {text['from']}")
        say(f"{trained:,} of {total:,} parameters are trained")
        if module.settings.runtime.compile:
            say("The layers are compiled on first use, which takes a minute or two.")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock, also of an epoch that is resumed."""
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self._pace = Pace(f"epoch {trainer.current_epoch + 1}: batches", trainer.num_training_batches, done)
        self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock of a new epoch."""
        self.on_train_start(trainer, pl_module)
        self._losses, self._batches, self._before = 0.0, 0, 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Counts."""
        self._losses += outputs["shown"]
        self._batches += 1
        if not self._bar:
            self._pace(index + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's line."""
        minutes = (self._before + time.perf_counter() - self._began) / 60
        self._minutes += minutes
        loss = float(trainer.callback_metrics["val/loss"])
        mean = float(self._losses) / max(self._batches, 1)
        say(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: loss {mean:.3f}, validation loss "
            f"{loss:.3f} (perplexity {math.exp(min(loss, 50)):,.1f}), "
            f"{self.vitals.words_per_second:,.0f} words/s, {minutes:.1f} minutes"
        )

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the model, and drops the checkpoint, which is several times its size."""
        module, data = _parts(trainer)
        if trainer.current_epoch != trainer.max_epochs:
            return  # it was told to stop
        stage(f"Writing {short(self.run.path / MODEL)} ...")
        draft = self.run.path / f".{MODEL}.tmp"
        shutil.rmtree(draft, ignore_errors=True)
        module.built.save(draft)
        tokenizer: Any = data.corpus.encoder.tokenizer
        tokenizer.save_pretrained(draft)
        for file in draft.iterdir():  # safetensors lets only its writer read what it writes
            file.chmod((self.run.path / "run.json").stat().st_mode)
        draft.replace(self.run.path / MODEL)
        about = self.run.read("run.json")
        loss = float(trainer.callback_metrics["val/loss"])
        learned = {"epochs": trainer.current_epoch, "steps": trainer.global_step, "val_loss": loss}
        self.run.update(
            "run.json",
            {
                "pretraining": about["pretraining"] | learned,
                "minutes": round(self._minutes, 1),
                "updated": now(),
                "peak_memory_bytes": peak_memory(),
            },
        )
        self.run.checkpoint(LAST).unlink(missing_ok=True)


def _parts(trainer: pl.Trainer) -> tuple[Pretraining, CoNLLDataModule]:
    """The module and the data module of a trainer."""
    module: Any = trainer.lightning_module
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return module, data
