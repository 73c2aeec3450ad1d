"""Teaches a backbone to fill in hidden words of a recipe's training text, before it becomes a tagger."""

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.data.datamodule import CoNLLDataModule
from ner_lightning.data.pretrained import locate
from ner_lightning.model.architecture import Architecture
from ner_lightning.model.backbone import identity
from ner_lightning.model.masked import MaskedWords
from ner_lightning.progress import Pace, stage
from ner_lightning.runs import LAST, Run, provenance, short, write_text
from ner_lightning.training.console import say
from ner_lightning.training.loggers import TableLogger
from ner_lightning.training.module import HALF
from ner_lightning.training.optim import clip, decayed, schedule
from ner_lightning.training.predictions import describe_split
from ner_lightning.training.randomness import State, random_states, restore_random_state
from ner_lightning.training.vitals import Vitals, peak_memory

MODEL = "model"  # the folder of what was learned, inside the run folder
AGAIN = "ner-lightning pretrain --run {}"  # goes on with a run that was stopped
DRAWS = 0  # seed of the words that are hidden in validation, the same in every run


class Pretraining(pl.LightningModule):
    """A backbone with its language-model head that learns to fill in hidden words.

    Args:
        settings: those of `NERModule`; of them the backbone, its attention, what of it is trained, and
            how, are used.
        share: of the words that are hidden.
    """

    def __init__(self, settings: Mapping[str, Any], share: float) -> None:
        super().__init__()
        self.settings = settings
        self.share = share
        self.pretrained = locate(settings["backbone"], settings["revision"])
        self.masked: MaskedWords | None = None
        self._sums = torch.zeros(2, dtype=torch.float64)  # of an evaluation: cross-entropy, sub-tokens
        self._draws = torch.Generator()
        self._random_states: list[State] = []

    @property
    def built(self) -> MaskedWords:
        """The model, once `configure_model` has built it."""
        assert self.masked is not None, "configure_model comes first"
        return self.masked

    def configure_model(self) -> None:
        """Loads the backbone, in the precision that the trainer was given."""
        if self.masked is not None:
            return
        given = self.settings
        self.masked = MaskedWords.load(
            self.pretrained,
            Architecture.of(given),
            share=self.share,
            bf16=self.trainer.precision == HALF,
            implementation=given["attn_implementation"],
            device_type=self.trainer.strategy.root_device.type,
            checkpointing=given["gradient_checkpointing"],
            compiled=given["compile"],
            trust_remote_code=given["trust_remote_code"],
        )

    def training_step(self, batch: Batch) -> Tensor:
        """The mean cross-entropy of a batch's hidden sub-tokens, over all ranks."""
        total, count = self.built(batch)
        # The mean of all ranks' gradients becomes the gradient of the mean over all ranks' sub-tokens.
        loss: Tensor = total / self.trainer.strategy.reduce(count, reduce_op="mean").clamp(min=1)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=1)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Starts the sums, and hides the same words as ever."""
        self._sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        self._draws.manual_seed(DRAWS + self.global_rank)

    def validation_step(self, batch: Batch) -> None:
        """Adds a batch to the sums."""
        self._sums += torch.stack(self.built(batch, self._draws)).double()

    def on_validation_epoch_end(self) -> None:
        """Logs the mean cross-entropy over all ranks."""
        loss, count = self.trainer.strategy.reduce(self._sums, reduce_op="sum").tolist()
        self.log("val/loss", loss / max(count, 1), rank_zero_only=False)

    def configure_optimizers(self) -> Any:
        """AdamW, and its schedule over the real number of steps."""
        given = self.settings
        groups = decayed("backbone", self.built.parameters(), given["lr"], given["weight_decay"])
        optimizer = torch.optim.AdamW(groups, fused=True)
        factor = schedule(given["schedule"], int(self.trainer.estimated_stepping_batches), given["warmup"])
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips and logs the gradient's norm."""
        norm = clip(optimizer, gradient_clip_val, gradient_clip_algorithm)
        if norm is not None:
            self.log("train/grad_norm", norm, batch_size=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps random numbers, and what every checkpoint of ours names."""
        checkpoint["random_states"] = random_states()
        checkpoint["backbone"] = {"name": self.settings["backbone"], "revision": self.settings["revision"]}
        checkpoint["config"] = {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remembers the random numbers until training starts."""
        self._random_states = checkpoint["random_states"]

    def on_train_start(self) -> None:
        """Puts the random numbers where they were when the checkpoint was written."""
        restore_random_state(self._random_states, self.global_rank)


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
        vitals: Vitals,
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
        self._losses: Any = 0.0
        self._minutes = 0.0  # of the epochs before

    def state_dict(self) -> dict[str, Any]:
        """The metrics table, and how long it took so far."""
        return {"table": self.table.text(), "minutes": self._minutes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from an earlier part of the run."""
        self._rows, self._minutes = state_dict["table"], state_dict["minutes"]

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes what is known before the first step, and says it."""
        module, data = parts(trainer)
        self.run.sweep()
        if self._rows is not None:
            self.table.take(self._rows)
        write_text(self.run.path / "recipe.yaml", self.recipe)
        parameters = list(module.built.parameters())
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        before = self.run.read("run.json")
        described = {name: describe_split(data, name) for name in ("train", "valid")}
        backbone = {"name": module.settings["backbone"], "weights": identity(module.pretrained)}
        self.run.write(
            "run.json",
            provenance()
            | {
                "command": before.get("command", self.command),
                "started": before.get("started", _now()),
                "backbone": backbone,
                "parameters": sum(p.numel() for p in parameters),
                "trained_parameters": trained,
                "data": described,
                "pretraining": self.asked,
            },
        )
        for name, split in described.items():
            say(f"{name:<6}{split['sentences']:>8,} sentences, of which the words alone are used")
        for text in self.asked["text"]:
            say(f"text  {text['sentences']:>8,} sentences of {text['from']}")
        say(f"{trained:,} of {sum(p.numel() for p in parameters):,} parameters are trained")
        if module.settings["compile"]:
            say("The layers are compiled on first use, which takes a minute or two.")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._pace = Pace(f"epoch {trainer.current_epoch + 1}: batches", trainer.num_training_batches)
        self._began = time.perf_counter()
        self._losses = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Counts."""
        self._losses += outputs["loss"].detach()
        if not self._bar:
            self._pace(index + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's line."""
        minutes = (time.perf_counter() - self._began) / 60
        self._minutes += minutes
        loss = float(trainer.callback_metrics["val/loss"])
        mean = float(self._losses) / max(trainer.num_training_batches, 1)
        say(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: loss {mean:.3f}, validation loss "
            f"{loss:.3f} (perplexity {math.exp(min(loss, 50)):,.1f}), "
            f"{self.vitals.words_per_second:,.0f} words/s, {minutes:.1f} minutes"
        )

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the model, and drops the checkpoint, which is several times its size."""
        module, data = parts(trainer)
        if trainer.current_epoch != trainer.max_epochs:
            return  # it was told to stop
        stage(f"Writing {short(self.run.path / MODEL)} ...")
        draft = self.run.path / f".{MODEL}.tmp"
        shutil.rmtree(draft, ignore_errors=True)
        module.built.save(draft)
        tokenizer: Any = data.encoder.tokenizer
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
                "updated": _now(),
                "peak_memory_bytes": peak_memory(),
            },
        )
        self.run.checkpoint(LAST).unlink(missing_ok=True)


def parts(trainer: pl.Trainer) -> tuple[Pretraining, CoNLLDataModule]:
    """The module and the data module of a trainer."""
    module: Any = trainer.lightning_module
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return module, data


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
