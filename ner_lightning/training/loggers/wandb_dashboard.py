"""Dashboard: tables and plots for W&B beside the logged metrics, written after best epochs."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_only
from PIL import Image

from ner_lightning.analysis.failure import calibration, confusion
from ner_lightning.analysis.mistakes import Mistake, all_mistakes, worst
from ner_lightning.analysis.render import plots
from ner_lightning.analysis.render.html import sentence
from ner_lightning.analysis.rows import Predictions, Row, read_predictions
from ner_lightning.data.schemes import Span
from ner_lightning.runs.folder import BEST, Run
from ner_lightning.training.callbacks.checkpoints import BestCheckpoint
from ner_lightning.training.module import NERModule

ERRORS = 50  # sentences in the table of errors
MARKS = "<style>mark{background:none;border:1px solid}mark.one{border-width:2px;background:#ffe9b8}</style>"
ABOUT = ("versions", "machine", "commit", "seed", "data", "backbone", "parameters", "trained_parameters")


class Dashboard(Callback):
    """Adds tables and plots to a W&B run; does nothing without W&B.

    At the start: versions, data fingerprints, numbers of parameters; the highest `val/f1` as summary.
    After each validation that is the best so far: entity-level confusion with missed and spurious,
    the most confident errors with their entities marked, calibration, and the CRF's transitions.
    At the end, with the logger's `log_model: true`: the best checkpoint as an artifact.

    Args:
        run: the run folder.
        best: decides which validation is the best.
    """

    def __init__(self, run: Run, best: BestCheckpoint) -> None:
        self.run = run
        self.best = best
        self._artifact = False

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes what is known from the start."""
        about = self.run.read("run.json")
        for logger in _wandb(trainer):
            logger.experiment.define_metric("val/f1", step_metric="trainer/global_step", summary="max")
            logger.log_hyperparams({"run": {name: about[name] for name in ABOUT if name in about}})
            # Lightning would upload `last` as well, and call it the best.
            self._artifact = self._artifact or bool(logger._log_model)
            logger._log_model = False

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes plots and tables if this validation is the best so far."""
        loggers = _wandb(trainer)
        if not loggers or not self.best.improves(trainer):
            return
        if self.run.read("metrics.json").get("val/step") != trainer.global_step:
            return  # its predictions could not be written
        assert isinstance(pl_module, NERModule)
        train = self.run.read("train_entities.json")
        predictions = read_predictions(self.run.path / "predictions.valid.jsonl", train)
        mistakes = all_mistakes(predictions)
        media = _confusion(predictions, mistakes) | _errors(predictions, mistakes)
        media |= _calibration(predictions) | _transitions(pl_module)
        for logger in loggers:
            logger.log_metrics(media, trainer.global_step)

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Uploads the best checkpoint as an artifact, if asked."""
        best = self.run.checkpoint(BEST)
        for logger in _wandb(trainer) if self._artifact and best.is_file() else ():
            import wandb

            artifact = wandb.Artifact(
                f"model-{logger.experiment.id}",
                type="model",
                metadata={"val/f1": self.run.read("metrics.json").get("val/f1")},
            )
            artifact.add_file(str(best), name="best.ckpt")
            logger.experiment.log_artifact(artifact, aliases=["best"])


def _wandb(trainer: pl.Trainer) -> list[WandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def _picture(figure: Any, caption: str) -> Any:
    import wandb

    return wandb.Image(Image.open(io.BytesIO(plots.png(figure))), caption=caption)


def _table(columns: list[str], rows: Iterable[Iterable[Any]]) -> Any:
    import wandb

    return wandb.Table(columns=columns, data=[list(row) for row in rows])


def _confusion(predictions: Predictions, mistakes: list[list[Mistake]]) -> dict[str, Any]:
    table = confusion(predictions, mistakes)
    rows = [(gold, predicted, count) for (gold, predicted), count in sorted(table.items())]
    caption = "annotated (rows) against predicted types, missed and spurious included"
    return {
        "analysis/confusion": _table(["annotated", "predicted", "entities"], rows),
        "analysis/confusion_plot": _picture(plots.confusion(table, predictions.types), caption),
    }


def _errors(predictions: Predictions, mistakes: list[list[Mistake]]) -> dict[str, Any]:
    columns = ["classes", "probability", "annotated", "predicted", "sentence"]
    rows = (_error(row, some) for row, some in worst(predictions, mistakes, ERRORS))
    return {"analysis/errors": _table(columns, rows)}


def _error(row: Row, mistakes: Any) -> Iterator[Any]:
    import wandb

    yield ", ".join(mistake.kind for mistake in mistakes)
    yield max(mistake.probability for mistake in mistakes)
    for side in ("gold", "predicted"):
        entities: list[Span] = [span for mistake in mistakes for span in getattr(mistake, side)]
        yield ", ".join(f"{span.type} {row.text(span)}" for span in entities) or "nothing"
    both = [
        f"<p>{name}: {sentence(row, entities, set(others))}</p>"
        for name, entities, others in (
            ("annotated", row.gold, row.predicted),
            ("predicted", row.predicted, row.gold),
        )
    ]
    yield wandb.Html(MARKS + "".join(both), inject=False)


def _calibration(predictions: Predictions) -> dict[str, Any]:
    bins = calibration(predictions)
    if not bins:
        return {}
    columns = ["probability from", "to", "entities", "mean probability", "share correct"]
    caption = "share of correct entities by their probability"
    return {
        "analysis/calibration": _table(columns, bins),
        "analysis/calibration_plot": _picture(plots.calibration(bins), caption),
    }


def _transitions(module: NERModule) -> dict[str, Any]:
    crf = module.built.decoder.crf
    if crf is None:
        return {}
    values = crf.transitions.detach().float().cpu().numpy().astype(np.float64)
    legal = np.array(module.labels.legal_transitions())
    caption = "the CRF's score of each tag (column) after each other; " + ", ".join(module.labels.tags)
    return {
        "analysis/transitions_plot": _picture(plots.transitions(values, module.labels.tags, legal), caption)
    }
