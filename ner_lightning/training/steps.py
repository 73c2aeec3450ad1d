"""What our LightningModules have in common: AdamW, clipping, random numbers that continue exactly."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch

from ner_lightning.training.optim import schedule
from ner_lightning.training.randomness import State, random_states, restore_random_state


class Steps(pl.LightningModule):
    """A module whose steps are AdamW's and whose checkpoints continue to the same weights, bit by bit."""

    def __init__(self) -> None:
        super().__init__()
        self._random_states: list[State] | None = None

    def adamw(self, groups: Sequence[dict[str, object]], settings: Mapping[str, Any]) -> dict[str, Any]:
        """AdamW, and its schedule over the real number of steps.

        Args:
            groups: of parameters.
            settings: those of `NERModule`; of them `schedule` and `warmup` are used.
        """
        optimizer = torch.optim.AdamW(groups, fused=True)
        steps = int(self.trainer.estimated_stepping_batches)
        factor = schedule(settings["schedule"], steps, settings["warmup"])
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step", "name": "lr"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips and logs the gradient's norm.

        Lightning's own way refuses fused optimizers, for the sake of fp16's scaled gradients; there
        are none here.
        """
        trained = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if gradient_clip_algorithm == "value" and gradient_clip_val:
            torch.nn.utils.clip_grad_value_(trained, gradient_clip_val)
            return
        norm = torch.nn.utils.clip_grad_norm_(trained, gradient_clip_val or math.inf)
        self.log("train/grad_norm", norm, batch_size=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps every rank's random numbers."""
        checkpoint["random_states"] = random_states()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remembers the random numbers until training starts."""
        self._random_states = checkpoint["random_states"]

    def on_train_start(self) -> None:
        """Puts the random numbers where they were when the checkpoint was written."""
        if self._random_states is not None:
            restore_random_state(self._random_states, self.global_rank)
            self._random_states = None
