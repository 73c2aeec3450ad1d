"""TrainingModule: what our LightningModules share: AdamW, clipping, averaging, and exact resuming."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler
from torch import Tensor, nn

from ner_lightning.errors import UserError
from ner_lightning.model.checkpoint import expect_stored
from ner_lightning.model.untraced import untraced
from ner_lightning.training.averaging import WeightAverage
from ner_lightning.training.callbacks.fit_ends import FitEnds
from ner_lightning.training.callbacks.throughput import logs_step
from ner_lightning.training.optim import Optimizer, adamw, callbacks_of, follow, optimizer_steps, schedule
from ner_lightning.training.randomness import State, random_states, restore_random_state


class TrainingModule(pl.LightningModule):
    """A module whose steps are AdamW's and whose checkpoints continue to the same weights, bit by bit."""

    def __init__(self) -> None:
        super().__init__()
        self._random_states: list[State] | None = None
        self._accumulated: Tensor | None = None  # words in the gradients so far, as the mean of the ranks
        self._resumed: dict[str, Any] | None = None  # gradients and words of a step that was begun
        self._steps = 0  # of the whole training, for the schedule
        self.loaded_epoch = self.loaded_step = 0  # of the checkpoint that is scored or resumed
        self.average = WeightAverage(0.0)
        self._averaged: dict[str, Any] | None = None  # of the checkpoint that is resumed
        self.register_load_state_dict_post_hook(expect_stored)  # type: ignore[no-untyped-call]

    @property
    @abstractmethod
    def built(self) -> nn.Module:
        """The model, once `configure_model` has built it."""

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Loads weights into the model, which is built first; those that are never stored are not missing.

        Lightning loads so what processes that it had started have trained; arguments as of torch.
        """
        self.configure_model()
        return super().load_state_dict(*args, **kwargs)

    def log(self, *args: Any, **kwargs: Any) -> None:
        """As Lightning's own, which `torch.compile` cannot trace."""
        untraced(pl.LightningModule.log)(self, *args, **kwargs)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Takes a step, and adds the weights to their average."""
        super().optimizer_step(*args, **kwargs)
        self.average.update(self.built)

    def configure_callbacks(self) -> list[Callback]:
        """What clears up at both ends of a fit, which a trainer needs once."""
        return [] if callbacks_of(self.trainer, FitEnds) else [FitEnds()]

    def forget_fit(self) -> None:
        """Lets go of what belongs to an earlier fit, or to the checkpoint of one; the weights stay."""
        self.put_weights_back()
        self.average.forget()
        self._random_states = self._accumulated = self._resumed = self._averaged = None

    def put_weights_back(self) -> None:
        """Puts the weights back into the model, if it holds their average."""
        if self.average.inside:
            self.average.exchange(self.built)

    def on_validation_start(self) -> None:
        """Puts the average into the model, which is scored."""
        self.average.exchange(self.built)

    def on_validation_end(self) -> None:
        """Puts the weights back."""
        self.average.exchange(self.built)

    def on_train_end(self) -> None:
        """Leaves the model as it was scored."""
        self.average.settle(self.built)

    def step_output(self, total: Tensor, count: Tensor) -> dict[str, Tensor]:
        """What a training step returns, from a batch's loss summed over its words on this rank.

        Gradients are those of the mean over all words of all ranks, and with accumulation over all words
        of the batches that share a step: the batches are summed, and `on_before_optimizer_step` divides.

        Args:
            total: the sum.
            count: the number of words, or of what else the loss is the mean of.

        Returns:
            `loss`, to learn from, and `shown`, the mean over this batch's words, the same on all ranks.
        """
        sums = torch.stack([count.to(total.dtype), total.detach()])
        # The mean of all ranks' gradients becomes the gradient of the mean over all ranks' words.
        words, summed = _mean_of_ranks(sums, self.trainer.world_size).unbind()
        some = words + (words == 0)  # a batch can be without masked words, and so without loss
        shown = summed / some
        bar = self.trainer.progress_bar_callback is not None  # for which the device is waited for
        self.log("train/loss", shown, prog_bar=bar, batch_size=1)
        if self.trainer.accumulate_grad_batches == 1:
            return {"loss": total / some, "shown": shown}
        self._accumulated = words if self._accumulated is None else self._accumulated + words
        return {"loss": total, "shown": shown}

    def log_parts(self, parts: Mapping[str, Tensor], count: Tensor) -> None:
        """Logs the means of the loss's parts over the words of all ranks, at logged steps and epochs' ends.

        `log` costs as much as a step of a head, so other steps go without.

        Args:
            parts: their sums on this rank.
            count: the number of words.
        """
        if not (self.trainer.is_last_batch or logs_step(self.trainer, ahead=1)):
            return
        sums = torch.stack([part.detach() for part in parts.values()])
        sums = torch.cat([count.to(sums.dtype).unsqueeze(0), sums])
        words, *means = _mean_of_ranks(sums, self.trainer.world_size).unbind()
        for name, mean in zip(parts, means, strict=True):
            self.log(f"train/{name}", mean / (words + (words == 0)), batch_size=1)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Divides accumulated gradients by the words of all their batches."""
        if self._accumulated is None:
            return
        # Lightning has divided each batch's loss by their intended number.
        words = self._accumulated + (self._accumulated == 0)
        factor = self.trainer.accumulate_grad_batches / words
        self._accumulated = None
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

    def adamw(self, groups: Sequence[dict[str, object]], settings: Optimizer) -> dict[str, Any]:
        """AdamW, and its schedule over the real number of steps.

        Args:
            groups: of parameters.
            settings: of them `schedule` and `warmup` are used.

        Raises:
            UserError: the schedule depends on the number of steps, and the training has no end.
        """
        optimizer = adamw(groups, settings, self.trainer.strategy.root_device.type)
        if self._count_steps() == math.inf and (settings.schedule != "constant" or settings.warmup):
            raise UserError(
                "the training has no end (trainer.max_epochs -1), so model.optimizer.schedule and warmup "
                "cannot follow its number of steps.\nSet trainer.max_epochs or trainer.max_steps, or "
                "--model.optimizer.schedule constant --model.optimizer.warmup 0"
            )

        def factor(step: int) -> float:  # whose number of steps is counted anew where a training is resumed
            return schedule(settings.schedule, self._steps, settings.warmup)(step)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step", "name": "lr"},
        }

    def _count_steps(self) -> float:
        """Counts the steps of the whole training for the schedule; `inf` without an end."""
        steps = optimizer_steps(self.trainer)
        self._steps = 0 if steps == math.inf else int(steps)
        return steps

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips, and logs the gradient's norm before.

        Lightning's own way refuses fused optimizers, for the sake of fp16's scaled gradients; there
        are none here.
        """
        trained = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        most = gradient_clip_val or math.inf
        by_value = gradient_clip_algorithm == "value"
        norm = torch.nn.utils.clip_grad_norm_(trained, math.inf if by_value else most)
        self.log("train/grad_norm", norm, batch_size=1)
        if by_value:
            torch.nn.utils.clip_grad_value_(trained, most)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps every rank's random numbers; validation may come within a step, so its gradients as well."""
        checkpoint["random_states"] = random_states()
        if self._accumulated is not None:
            parts = {n: p.grad for n, p in self.named_parameters() if p.grad is not None}
            checkpoint["accumulated"] = {
                "words": self._summed(self._accumulated / self.trainer.world_size),
                "gradients": {name: self._summed(gradient) for name, gradient in parts.items()},
            }

    def _summed(self, value: Tensor) -> Tensor:
        summed: Tensor = self.trainer.strategy.reduce(value.clone(), reduce_op="sum")
        return summed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remembers random numbers, gradients and weights of a fit that is resumed until training starts."""
        self.loaded_epoch, self.loaded_step = checkpoint["epoch"], checkpoint["global_step"]
        if self._trainer is None or self.trainer.state.fn != "fit":
            return  # a later fit begins anew
        # With max_steps, Lightning's loop would take a checkpoint of an epoch's end for one within that
        # epoch, and skip the next one. It asks this for nothing else.
        self.trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        self._random_states = checkpoint["random_states"]
        self._resumed = checkpoint.get("accumulated")
        self._averaged = checkpoint.get("averaged")

    def on_train_start(self) -> None:
        """Puts random numbers and gradients where they were when the checkpoint was written."""
        # Asked at the beginning of an epoch alone.
        for scheduler in callbacks_of(self.trainer, GradientAccumulationScheduler):
            batches = scheduler.get_accumulate_grad_batches(self.trainer.current_epoch)
            self.trainer.accumulate_grad_batches = batches
        if self._resumed is not None:
            parameters = dict(self.named_parameters())
            for name, gradient in self._resumed["gradients"].items():
                parameters[name].grad = gradient.to(parameters[name].device) / self.trainer.world_size
            self._accumulated = self._resumed["words"].to(self.device)
            self._resumed = None
        if self._random_states is not None:
            restore_random_state(self._random_states, self.global_rank)
            self._random_states = None
            self._count_steps()
            for config in self.trainer.lr_scheduler_configs:
                follow(config.scheduler)
        if self._averaged is not None:
            self.average.restore(self.built, self._averaged)
            self._averaged = None


def _mean_of_ranks(value: Tensor, ranks: int) -> Tensor:
    """The mean over all ranks; Lightning's own would first wait on the CPU until all ranks are there."""
    if ranks > 1:
        torch.distributed.all_reduce(value)
    return value / ranks
