"""Parameter groups, learning-rate schedules, and the number of their steps."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import nn

from ner_lightning.errors import UserError
from ner_lightning.model.quantization import check_bitsandbytes
from ner_lightning.system.plain_settings import fixed
from ner_lightning.system.ranges import (
    NonNegativeFloat,
    PositiveFloat,
    UnitInterval,
    UpToHalf,
    check_arguments,
)

Schedule = Literal["linear", "cosine", "constant"]


@dataclass(frozen=True)
class Optimizer:
    """AdamW's settings, its schedule, and the averaging of weights.

    Args:
        lr: peak learning rate of adapters, or of the backbone's own weights.
        head_lr: peak learning rate of the head; null takes `lr`.
        crf_lr: peak learning rate of the CRF; null takes ten times the head's.
        weight_decay: of AdamW, on matrices.
        warmup: share of the steps in which learning rates rise.
        schedule: how they fall afterwards.
        averaging: evaluate and keep an average of the weights, whose mean age is this fraction of the steps
            so far; 0 averages nothing.
        paged: let the GPU move AdamW's states to the host's memory when its own is full; needs the extra
            `quant`.
    """

    lr: PositiveFloat = fixed("training", 1e-4)
    head_lr: PositiveFloat | None = fixed("training", None)
    crf_lr: PositiveFloat | None = fixed("training", None)
    weight_decay: NonNegativeFloat = fixed("training", 0.01)
    warmup: UnitInterval = 0.1
    schedule: Schedule = "linear"
    averaging: UpToHalf = 0.0
    paged: bool = fixed("training", False)

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "model.optimizer.")

    @property
    def rates(self) -> tuple[float, float, float]:
        """The peak learning rates of backbone, head and CRF."""
        head = self.lr if self.head_lr is None else self.head_lr
        return self.lr, head, 10 * head if self.crf_lr is None else self.crf_lr


def adamw(
    groups: Sequence[dict[str, object]], settings: Optimizer, device_type: str
) -> torch.optim.Optimizer:
    """AdamW over groups of parameters.

    Args:
        groups: of `parameter_groups`.
        settings: of them `paged` is used.
        device_type: `cpu` or `cuda`, where the parameters are.

    Raises:
        UserError: it is to be paged, which needs a CUDA GPU and bitsandbytes.
    """
    if not settings.paged:
        return torch.optim.AdamW(groups, fused=True)
    if device_type != "cuda":
        raise UserError(
            f"model.optimizer.paged moves states between a CUDA GPU and the host; this is a {device_type}.\n"
            "Leave it out, or train on a GPU."
        )
    check_bitsandbytes("model.optimizer.paged")
    from bitsandbytes.optim import PagedAdamW

    optimizer: torch.optim.Optimizer = PagedAdamW(groups)
    return optimizer


def parameter_groups(
    backbone: nn.Module, head: nn.Module, crf: nn.Module | None, settings: Optimizer
) -> list[dict[str, object]]:
    """AdamW's groups: backbone or adapters, head, and CRF, each with its own rate.

    Biases, norms and the CRF's scores are not decayed. Groups that would be empty are left out.
    """
    lr, head_lr, crf_lr = settings.rates
    groups = decayed("backbone", backbone.parameters(), lr, settings.weight_decay)
    groups += decayed("head", head.parameters(), head_lr, settings.weight_decay)
    scores = [p for p in crf.parameters() if p.requires_grad] if crf is not None else []
    if scores:
        groups.append({"params": scores, "lr": crf_lr, "weight_decay": 0.0, "name": "crf"})
    return groups


def decayed(
    name: str, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
) -> list[dict[str, object]]:
    """The trained ones of some parameters as one or two groups: matrices decay, vectors do not."""
    trained = [p for p in parameters if p.requires_grad]
    matrices, vectors = ([p for p in trained if (p.dim() > 1) == tall] for tall in (True, False))
    label = f"{name}_no_decay" if matrices else name
    groups = [(matrices, weight_decay, name), (vectors, 0.0, label)]
    return [
        {"params": params, "lr": lr, "weight_decay": decay, "name": called}
        for params, decay, called in groups
        if params
    ]


def schedule(kind: Schedule, steps: int, warmup: float) -> Callable[[int], float]:
    """The factor on every learning rate at each step.

    Args:
        kind: how it falls from 1 to 0 after warm-up; `constant` does not fall.
        steps: optimizer steps of the whole run.
        warmup: share of them in which it rises from 0 to 1.
    """
    rise = round(steps * warmup)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        done = min(1.0, (step - rise) / max(1, steps - rise))
        if kind == "linear":
            return 1.0 - done
        if kind == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        return 1.0

    return factor


def follow(scheduler: Any) -> None:
    """Sets the next step's rates: a checkpoint has those of its own schedule, which may be at its end."""
    if not isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR):
        return  # of a subclass
    rates = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
    for group, (rate, factor) in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * factor(scheduler.last_epoch)


def optimizer_steps(trainer: pl.Trainer) -> float:
    """The optimizer step at which a training ends, `inf` without an end.

    That is the steps that are done, if it is resumed and its progress is loaded, and those of the batches
    that are left. Lightning's own estimate knows neither of these nor of a `GradientAccumulationScheduler`.
    """
    steps: float = trainer.estimated_stepping_batches  # reads the data
    if not trainer.max_epochs or trainer.max_epochs < 0 or trainer.num_training_batches == math.inf:
        return steps
    batches = int(trainer.num_training_batches)
    changes = callbacks_of(trainer, GradientAccumulationScheduler)  # one at most
    done, begun = trainer.global_step, 0
    progress = trainer.fit_loop.epoch_loop.batch_progress
    if trainer.fit_loop.restarted_mid_epoch:  # batches of that epoch, all if only its end is left
        begun = batches if progress.is_last_batch else progress.current.ready
    for epoch in range(trainer.current_epoch, trainer.max_epochs):
        each = changes[0].get_accumulate_grad_batches(epoch) if changes else trainer.accumulate_grad_batches
        if begun < batches:
            done += math.ceil(batches / each) - begun // each
        begun = 0
    return done if trainer.max_steps == -1 else min(done, trainer.max_steps)


def callbacks_of(trainer: pl.Trainer, kind: type) -> list[Any]:
    """A trainer's callbacks of a kind."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return [one for one in callbacks if isinstance(one, kind)]
