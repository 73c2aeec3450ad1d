"""ScoringModule: how a tagger validates, tests and predicts; a fit of it is that of `TrainingModule`."""

from abc import abstractmethod
from typing import Any

import torch
from torch import nn

from ner_lightning.data.batching import Batch
from ner_lightning.data.schemes import LabelSet
from ner_lightning.model.tagger import Tagger
from ner_lightning.training.prediction import Prediction
from ner_lightning.training.training_module import TrainingModule

EVALUATIONS = ("validate", "test", "predict")  # what a trainer does outside of a fit


class ScoringModule(TrainingModule):
    """A tagger that is scored.

    Attributes:
        labels: its label set.
        metrics: an `EntityF1` for `val` and for `test`.
    """

    labels: LabelSet
    tagger: Tagger | None
    metrics: nn.ModuleDict
    _merging = _merged = False  # whether adapters are to be folded in, or were

    @property
    @abstractmethod
    def built(self) -> Tagger:
        """The tagger, once `configure_model` has built it."""

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Also merges the adapters; see `_merge`. The device may have no room for the weights in fp32."""
        self.unmerge()
        loaded = super().load_state_dict(*args, **kwargs)
        self._merge()
        return loaded

    def unmerge(self) -> None:
        """Lets a tagger go whose adapters, those of other weights, were merged: it is built anew."""
        if self._merged:
            self.tagger, self._merged = None, False

    def validation_step(self, batch: Batch) -> Any:
        """Scores a validation batch."""
        return self._evaluate("val", batch)

    def test_step(self, batch: Batch) -> Any:
        """Scores a test batch."""
        return self._evaluate("test", batch)

    def predict_step(self, batch: Batch) -> Prediction:
        """Tags a batch; without gold tags they count as O."""
        emissions = self.built.scores(batch)
        tags = self.built.decoder.decode(emissions, batch.mask)
        gold = torch.zeros_like(tags) if batch.tags is None else batch.tags
        return Prediction(batch.index, batch.mask, gold, emissions, tags)

    def on_predict_start(self) -> None:
        """Merges the adapters; see `_merge`."""
        self._merge()

    def _evaluate(self, stage: str, batch: Batch) -> Prediction:
        assert batch.tags is not None, "evaluation data has tags"
        evaluated = self.trainer.state.fn in EVALUATIONS  # a fit has `NonFiniteGuard`
        emissions = self.built.scores(batch) if evaluated else self.built(batch)
        decoder = self.built.decoder
        # To the loss, words of types that the model does not know are O: the best that it can predict.
        known = torch.where(batch.tags < len(self.labels), batch.tags, 0)
        tags = decoder.decode(emissions, batch.mask)
        metric: Any = self.metrics[stage]
        metric.update(tags, batch.tags, batch.mask)
        metric.add_loss(decoder.total(decoder.losses(emissions, known, batch.mask)))
        return Prediction(batch.index, batch.mask, batch.tags, emissions, tags)

    def on_validation_epoch_end(self) -> None:
        """Logs validation metrics."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Logs test metrics."""
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> None:
        metric: Any = self.metrics[stage]
        for name, value in metric.compute().items():
            self.log(f"{stage}/{name}", value, prog_bar=name == "f1", rank_zero_only=False)

    def on_validation_start(self) -> None:
        """Merges the adapters, see `_merge`, and resets the counts; within a fit the average is scored."""
        self._merge()
        self.metrics["val"].reset()  # type: ignore[operator]
        super().on_validation_start()

    def on_test_start(self) -> None:
        """Merges the adapters, see `_merge`, and resets the counts."""
        self._merge()
        self.metrics["test"].reset()  # type: ignore[operator]

    def _merge(self) -> None:
        """Outside of a fit the model that is scored is the one that prediction and export use, and faster."""
        if self._trainer is None or self._trainer.state.fn not in EVALUATIONS:
            return
        if self._merging:
            self._merging, self._merged = False, self.built.emitter.merge()
