"""Dashboard: summary, tables, charts and artifacts for W&B beside the logged metrics."""

import io
from functools import partial
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_only
from PIL import Image

from ner_lightning.analysis.mistakes import all_mistakes
from ner_lightning.analysis.render.heat_maps import LARGEST, transitions
from ner_lightning.analysis.render.style import png
from ner_lightning.analysis.rows import read_predictions
from ner_lightning.metrics.from_counts import Scores
from ner_lightning.runs.earlier import set_aside_scores
from ner_lightning.runs.folder import BEST, STAGES, Run
from ner_lightning.training.callbacks.checkpoints import BestCheckpoint
from ner_lightning.training.loggers import wandb_tables
from ner_lightning.training.loggers.wandb import NonBlockingWandbLogger
from ner_lightning.training.loggers.wandb_artifacts import log_data, log_model
from ner_lightning.training.module import NERModule

ABOUT = (
    "versions", "machine", "commit", "seed", "ranks", "data", "backbone", "parameters", "trained_parameters",
)  # fmt: skip
BEST_SCORES = ("f1", "precision", "recall", "accuracy", "loss", "epoch")


class Dashboard(Callback):
    """Adds a summary, tables, charts and artifacts to a W&B run; does nothing without W&B.

    At the start: versions, data fingerprints, numbers of parameters, and the data set by reference.
    After each validation that is the best so far: its scores as `best/...` and `val/...` in the summary,
    entity-level confusion with missed and spurious, scores by type, calibration, predictions, the most
    confident errors, and the CRF's transitions.
    At the end: the best checkpoint by reference, or as a file with the logger's `log_model: true`.
    `test` adds its scores and tables to the summary of the same run.

    Args:
        run: the run folder.
        best: decides which validation is the best.
        text: whether words of the data may be logged.
    """

    def __init__(self, run: Run, best: BestCheckpoint, *, text: bool) -> None:
        self.run = run
        self.best = best
        self.text = text
        self._uploads = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Lets scores outside of a fit go to the summary alone, so that no curve moves back."""
        for logger in _wandb(trainer):
            logger.within_fit = stage == "fit"

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes what is known from the start."""
        about = self.run.read("run.json")
        dataset = trainer.datamodule.hparams.get("dataset") or "data"  # type: ignore[attr-defined]
        for logger in _wandb(trainer):
            run = logger.experiment
            # Their summary is that of the best validation, which is written then. By name, since Lightning's
            # rule for `*` comes before any other pattern.
            for score in _scores(pl_module):
                run.define_metric(
                    f"val/{score}", step_metric="trainer/global_step", step_sync=True, summary="none"
                )
            logger.log_hyperparams({"run": {name: about[name] for name in ABOUT if name in about}})
            logger.attempt("the data set", partial(log_data, run, dataset, about["data"]))
            # Lightning would upload `last` as well, and call it the best.
            self._uploads = self._uploads or bool(logger._log_model)
            logger._log_model = False

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes summary, charts and tables if this validation is the best so far."""
        loggers = _wandb(trainer)
        if not loggers or not self.best.improves(trainer):
            return
        metrics = self.run.read("metrics.json")
        if metrics.get("val/step") != trainer.global_step:
            return  # its predictions could not be written
        assert isinstance(pl_module, NERModule)
        summary = {f"best/{name}": metrics[f"val/{name}"] for name in BEST_SCORES}
        summary |= {key: value for key, value in metrics.items() if key in trainer.callback_metrics}
        tables = self._tables("valid")
        media = wandb_tables.charts(tables) | {name: tables[name] for name in ("predictions", "errors")}
        media |= _transitions(pl_module)
        media = {f"analysis/{key}": value for key, value in media.items()}
        earlier = set_aside_scores(self.run) if "test/f1" not in metrics else []
        withdrawn = [*earlier, *(f"test/{name}" for name in tables)] if earlier else []
        for logger in loggers:
            logger.summarise(summary)
            logger.withdraw(withdrawn)
            logger.log_metrics(media, trainer.global_step)

    @rank_zero_only
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the test set's tables to the summary."""
        if loggers := _wandb(trainer):
            tables = {f"test/{name}": table for name, table in self._tables("test").items()}
            for logger in loggers:
                logger.summarise(tables)

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the best checkpoint."""
        best = self.run.checkpoint(BEST)
        metrics = self.run.read("metrics.json")
        scores = {f"val/{name}": metrics.get(f"val/{name}") for name in BEST_SCORES}
        for logger in _wandb(trainer) if best.is_file() else ():
            upload = partial(log_model, logger.experiment, best, scores, BEST, upload=self._uploads)
            logger.attempt("the best checkpoint", upload)

    def _tables(self, split: str) -> dict[str, Any]:
        """Tables of a split's predictions, which are in the run folder."""
        fingerprint = self.run.read("run.json")["data"][split]["fingerprint"]
        train = self.run.read("train_entities.json")
        predictions = read_predictions(self.run.path / f"predictions.{split}.jsonl", train)
        mistakes = all_mistakes(predictions)
        of: Any = (predictions, mistakes, wandb_tables.source_name(split, fingerprint))
        return {
            "by_type": wandb_tables.scores_by_type(self.run.read("metrics.json")[f"{STAGES[split]}/by_type"]),
            "confusion": wandb_tables.confused(predictions, mistakes),
            "calibration": wandb_tables.calibrated(predictions),
            "predictions": wandb_tables.predicted(*of, text=self.text),
            "errors": wandb_tables.errors(*of, text=self.text),
        }


def _wandb(trainer: pl.Trainer) -> list[NonBlockingWandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, NonBlockingWandbLogger)]


def _scores(module: Any) -> list[str]:
    of_type = [f"{score}/{kind}" for score in Scores._fields for kind in module.metrics["val"].types]
    return ["loss", "accuracy", *Scores._fields, *of_type]


def _transitions(module: NERModule) -> dict[str, Any]:
    import wandb

    crf = module.built.decoder.crf
    if crf is None or crf.num_tags > LARGEST:
        return {}
    values = crf.transitions.detach().float().cpu().numpy().astype(np.float64)
    legal = np.array(module.labels.legal_transitions())
    caption = "the CRF's score of each tag (column) after each other; " + ", ".join(module.labels.tags)
    picture = Image.open(io.BytesIO(png(transitions(values, module.labels.tags, legal))))
    return {"transitions": wandb.Image(picture, caption=caption)}
