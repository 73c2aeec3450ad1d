"""RunFiles: writes run.json, metrics.json, and predictions as JSONL and as CoNLL columns."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from ner_lightning.data.readers.columns import write_conll
from ner_lightning.data.readers.jsonl import write_jsonl
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.train_overlap import digests, read_digests, write_digests
from ner_lightning.runs.earlier import earlier_data, earlier_settings, set_test_aside
from ner_lightning.runs.folder import SPLIT_OF, Run, run_of
from ner_lightning.runs.ladder_cells import noted_recipe
from ner_lightning.runs.provenance import now, run_provenance
from ner_lightning.system.atomic import write_text
from ner_lightning.system.console import best_effort, say
from ner_lightning.system.terminal import counted
from ner_lightning.training.callbacks.checkpoints import BestCheckpoint
from ner_lightning.training.callbacks.throughput import peak_memory
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.loggers.metrics_table import TableLogger
from ner_lightning.training.module import NERModule
from ner_lightning.training.prediction import Prediction
from ner_lightning.training.prediction_rows import (
    describe_parameters,
    describe_split,
    gather,
    prediction_rows,
)
from ner_lightning.training.resuming import fingerprints
from ner_lightning.training.seqeval_check import FIGURES, agree
from ner_lightning.training.target import in_bf16


class RunFiles(Callback):
    """Writes what a run folder holds beside checkpoints and `metrics.csv`.

    Args:
        run: the folder.
        config: the resolved configuration, which every checkpoint holds as well.
        config_text: the same as YAML.
        command: the command line as it was typed.
        table: the metrics table; checkpoints hold its rows, so that a killed run loses none.
        best: decides which validation is the best.
    """

    def __init__(
        self,
        run: Run,
        config: Mapping[str, Any],
        config_text: str,
        command: list[str],
        table: TableLogger,
        best: BestCheckpoint,
    ) -> None:
        self.run = run
        self.table = table
        self.config = dict(config)
        self.config_text = config_text
        self.command = command
        self.best = best
        self._rows = ""
        self._predictions: list[Prediction] = []
        self.agreement: str | None = None  # what seqeval says of the scores
        self._check: Callable[[], str | None] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The metrics table."""
        return {"table": self.table.text()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resumes the run."""
        self._rows = state_dict["table"]

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Adds configuration and data fingerprints, so that the checkpoint can be used by itself."""
        checkpoint["config"] = self.config
        checkpoint["data"] = fingerprints(_parts(trainer)[1])

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes what is known before the first step, and resumes the table at the checkpoint."""
        datamodule = _parts(trainer)[1]
        self.run.sweep()
        self.table.take(self._rows)
        before, settings = self.run.read("run.json"), self.run.path / "config.yaml"
        old = yaml.safe_load(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
        write_text(settings, self.config_text)
        before.pop("finished", None)
        trained = digests(sentence.words for sentence in datamodule.corpus.split("train").sentences)
        trained |= read_digests(self.run)  # of an earlier state of the data
        data = {
            "train": describe_split(datamodule, "train"),
            "valid": describe_split(datamodule, "valid", trained),
        }
        if (ranks := before.get("ranks", trainer.world_size)) != trainer.world_size:
            say(
                f"The epochs before were trained on {counted(ranks, 'rank')}, the next ones on "
                f"{trainer.world_size}: a step now has {trainer.world_size / ranks:g} times the sentences."
            )
        for logger in trainer.loggers:
            logger.log_hyperparams(self.config)
        wandb_ids = [logger.version for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        about = self._known(trainer) | {
            "command": before.get("command", self.command),
            "continued": [*before.get("continued", []), *([self.command] if before else [])],
            "started": before.get("started", now()),
            "ranks": trainer.world_size,
            "teacher": datamodule.corpus.teacher and datamodule.corpus.teacher.about,
            "data": before.get("data", {}) | data,
            "earlier_data": [*before.get("earlier_data", []), *earlier_data(before, data)],
            "earlier_settings": [
                *before.get("earlier_settings", []),
                *earlier_settings(before, old, self.config, trainer.world_size),
            ],
            "wandb_id": next(iter(wandb_ids), None),
        }
        self.run.write("run.json", before | about)
        self.run.write("train_entities.json", datamodule.corpus.entity_counts())
        write_digests(self.run, trained)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any, **__: Any) -> None:
        """Collects a batch's predictions until the end of the split."""
        self._predictions.append(outputs.to(torch.device("cpu")))  # a device's memory is for the model

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the predictions of a validation that is the best so far, or was asked for."""
        if trainer.state.fn != "fit" or self.best.improves(trainer):
            self._write(trainer, "val")
        self._predictions.clear()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the predictions of the test set."""
        self._write(trainer, "test")
        self._predictions.clear()

    def _write(self, trainer: pl.Trainer, stage: str) -> None:
        module, data = _parts(trainer)
        rows = gather([r for p in self._predictions for r in prediction_rows(module, data, stage, p)])
        if not trainer.is_global_zero:
            return
        split, fits = SPLIT_OF[stage], trainer.state.fn == "fit"
        rows.sort(key=lambda row: int(row["sentence"]))
        counts = {row["sentence"]: row.pop("counts") for row in rows}
        metric: Any = module.metrics[stage]
        values = {f"{stage}/{name}": value for name, value in metric.compute().items()} | {
            f"{stage}/by_type": metric.by_type(),
            f"{stage}/epoch": trainer.current_epoch if fits else module.loaded_epoch,
            f"{stage}/step": trainer.global_step if fits else module.loaded_step,
        }
        base, by_type = self.run.path / f"predictions.{split}", metric.by_type()
        scores = {name: values[f"{stage}/{name}"] for name in FIGURES}
        check = partial(agree, base, scores, by_type, counts)
        if fits:  # these must not end it, since `validate` writes them again
            self._check = None
            best_effort(base, lambda: self._write_predictions(split, rows, check))
            best_effort(self.run.path / "metrics.json", lambda: self.run.update("metrics.json", values))
            best_effort(self.run.path / "run.json", self._set_test_aside)
            return
        trained = run_of(Path(trainer.ckpt_path)) if trainer.ckpt_path else None  # where a checkpoint is
        described = describe_split(data, split, read_digests(trained or self.run))
        before = self.run.read("run.json").get("data", {}).get("test", described)
        if stage == "test" and before["fingerprint"] != described["fingerprint"]:
            self._set_test_aside()
        self._write_predictions(split, rows, check)
        self.agreement = check()  # before any score is written
        if not (self.run.path / "config.yaml").exists():
            self._describe_scored(trainer)
        self.run.update("metrics.json", values)
        about = {"data": self.run.read("run.json").get("data", {}) | {split: described}}
        self.run.update(
            "run.json", about | ({"test_command": self.command, "tested": now()} if stage == "test" else {})
        )

    def _set_test_aside(self) -> None:
        if kept := set_test_aside(self.run):
            say(f"The test before was of another checkpoint or other data: {kept}.")

    def _describe_scored(self, trainer: pl.Trainer) -> None:
        """Writes what the folder of a checkpoint that was scored apart from its run needs to be read."""
        write_text(self.run.path / "config.yaml", self.config_text)
        scored = {"checkpoint": str(trainer.ckpt_path), "step": _parts(trainer)[0].loaded_step}
        self.run.update("run.json", self._known(trainer) | {"command": self.command, "scored": scored})

    def _known(self, trainer: pl.Trainer) -> dict[str, Any]:
        """What `run.json` says of the tagger, trained here or scored."""
        module, data = _parts(trainer)
        known = {
            "seed": self.config.get("seed_everything"),
            "types": data.types,
            "backbone": {"name": module.settings.backbone, "weights": module.weights_id},
            "backbone_in_bf16": in_bf16(trainer),
        }
        return run_provenance() | noted_recipe() | known | describe_parameters(module.built)

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compares the best validation with seqeval, if its predictions could be written."""
        self.agreement = self._check() if self._check else None

    def _write_predictions(
        self, split: str, rows: list[dict[str, Any]], check: Callable[[], str | None]
    ) -> None:
        base = self.run.path / f"predictions.{split}"
        write_jsonl(base.with_name(base.name + ".jsonl"), rows)
        write_conll(
            base.with_name(base.name + ".conll"),
            [Sentence(tuple(r["words"]), None, r["document"]) for r in rows],
            [r["gold"] for r in rows],
            [r["predicted"] for r in rows],
        )
        self._check = check

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the table and the run's progress; checkpoint callbacks come after this."""
        progress = {
            "epochs": trainer.current_epoch + 1,
            "steps": trainer.global_step,
            "updated": now(),
            "peak_memory_bytes": peak_memory(trainer.strategy.root_device),
        }
        best_effort(self.run.path / "run.json", lambda: self.run.update("run.json", progress))
        self.table.write()
        for logger in trainer.loggers:
            logger.save()


def _parts(trainer: pl.Trainer) -> tuple[NERModule, CoNLLDataModule]:
    module, data = trainer.lightning_module, getattr(trainer, "datamodule", None)
    assert isinstance(module, NERModule)
    assert isinstance(data, CoNLLDataModule)
    return module, data
