"""Pretraining: the LightningModule that trains a backbone to predict masked words of a recipe's text."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.data.pretrained import locate
from ner_lightning.metrics.float64 import has_float64
from ner_lightning.model.backbone import fingerprint
from ner_lightning.model.checkpoint import check_backbone
from ner_lightning.model.masked_lm import MaskedWords
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.training.optim import Optimizer, decayed
from ner_lightning.training.target import report_fp32_fallback, target_of
from ner_lightning.training.training_module import TrainingModule

VALIDATION_SEED = 0  # of the words that are masked in validation, the same in every run


class Pretraining(TrainingModule):
    """A backbone with its language-model head that learns to predict masked words.

    Args:
        settings: of them the backbone, its attention, what of it is trained, and how it is run, are used.
        optimizer: of it the backbone's rate, weight decay and schedule are used.
        mask_ratio: share of the words that are masked.
    """

    def __init__(self, settings: TaggerSettings, optimizer: Optimizer, mask_ratio: float) -> None:
        super().__init__()
        self.settings = settings
        self.optimizer_settings = optimizer
        self.mask_ratio = mask_ratio
        self.pretrained = locate(settings.backbone, settings.revision)
        self.masked: MaskedWords | None = None
        self._sums = torch.zeros(2, dtype=torch.float64)  # of an evaluation: cross-entropy, sub-tokens
        self._generator = torch.Generator()

    @cached_property
    def weights_id(self) -> str:
        """The fingerprint of the backbone's weights, for which its files are read."""
        return fingerprint(self.pretrained)

    @property
    def built(self) -> MaskedWords:
        """The model, once `configure_model` has built it."""
        assert self.masked is not None, "configure_model comes first"
        return self.masked

    def configure_model(self) -> None:
        """Loads the backbone, in the precision that the trainer was given."""
        if self.masked is not None:
            return
        report_fp32_fallback(self.trainer)
        target = target_of(self.trainer, compiled=self.settings.runtime.compile)
        self.masked = MaskedWords.load(self.pretrained, self.settings, target, mask_ratio=self.mask_ratio)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The cross-entropy of a batch's masked sub-tokens; see `TrainingModule.step_output`."""
        total, count = self.built(batch)
        return self.step_output(total, count)

    def on_validation_epoch_start(self) -> None:
        """Starts the sums; the same words are masked in every epoch."""
        device = self.device if has_float64(self.device) else torch.device("cpu")
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)
        self._generator.manual_seed(VALIDATION_SEED + self.global_rank)

    def validation_step(self, batch: Batch) -> None:
        """Adds a batch to the sums."""
        self._sums += torch.stack(self.built(batch, self._generator)).to(self._sums.device).double()

    def on_validation_epoch_end(self) -> None:
        """Logs the mean cross-entropy over all ranks."""
        loss, count = self.trainer.strategy.reduce(self._sums, reduce_op="sum").tolist()
        self.log("val/loss", loss / max(count, 1), rank_zero_only=False)

    def configure_optimizers(self) -> Any:
        """AdamW, and its schedule over the real number of steps."""
        settings = self.optimizer_settings
        groups = decayed("backbone", self.built.parameters(), settings.lr, settings.weight_decay)
        return self.adamw(groups, settings)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds random states, and what every checkpoint of ours names."""
        super().on_save_checkpoint(checkpoint)
        names = {"name": self.settings.backbone, "revision": self.settings.revision}
        checkpoint["backbone"] = names | {"weights": self.weights_id}
        checkpoint["config"] = {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that it goes on from the same backbone."""
        super().on_load_checkpoint(checkpoint)
        check_backbone(checkpoint["backbone"], self.settings.backbone, self.weights_id)
