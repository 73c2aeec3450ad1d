"""Says how many steps a training has if they are few, and what never comes, since it ends before."""

import math
from collections.abc import Iterator

import lightning.pytorch as pl
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint

from ner_lightning.system.console import say
from ner_lightning.training.optim import Optimizer, callbacks_of, optimizer_steps

FEW_STEPS = 100  # of a fit, under which a tag set is hardly learned


def say_what_never_comes(trainer: pl.Trainer, optimizer: Optimizer) -> None:
    """Prints how many steps there are if they are few, and what needs more of them."""
    steps = optimizer_steps(trainer)
    if steps < trainer.max_steps:
        say(f"trainer.max_epochs ends it after {steps:,.0f} steps, before trainer.max_steps.")
    elif steps < FEW_STEPS and trainer.max_steps == -1:
        say(f"It takes {steps:.0f} optimizer steps, few for a tagger: trainer.max_epochs gives more.")
    warmup, first = optimizer.warmup, trainer.global_step == 0 and steps != math.inf
    if first and warmup and not round(steps * warmup):
        say(f"model.optimizer.warmup {warmup:g} of {steps:.0f} steps is none: rates begin at their peak.")
    elif first and round(steps * warmup) >= steps and optimizer.schedule != "constant":
        say(f"model.optimizer.warmup {warmup:g}: learning rates rise until the end and never fall.")
    if first and _first_validation(trainer) > _batches(trainer):
        say("It ends before its first validation, so that there are no scores and no best checkpoint.")
    for line in _callbacks_that_never_act(trainer, steps) if first else ():
        say(line)


def _callbacks_that_never_act(trainer: pl.Trainer, steps: float) -> Iterator[str]:
    epochs = _epochs(trainer)
    for scheduler in callbacks_of(trainer, GradientAccumulationScheduler):
        if late := [epoch for epoch in scheduler.epochs if epoch >= epochs]:
            never = ", ".join(map(str, late))
            yield f"GradientAccumulationScheduler counts epochs from 0, so epoch {never} never comes."
    for saving in callbacks_of(trainer, ModelCheckpoint):
        if saving._every_n_train_steps > steps:
            yield f"ModelCheckpoint saves nothing: every_n_train_steps is {saving._every_n_train_steps:,}."
        elif (saving.every_n_epochs or 0) > epochs:
            yield f"ModelCheckpoint saves nothing: every_n_epochs is {saving.every_n_epochs:,}."


def _first_validation(trainer: pl.Trainer) -> float:
    """After how many batches the first validation comes, from the start."""
    interval, batches, every = (
        trainer.val_check_batch,
        trainer.num_training_batches,
        trainer.check_val_every_n_epoch,
    )
    if not trainer.limit_val_batches or interval is None:  # said before, or by the clock
        return 0
    return interval if every is None else (every - 1) * batches + min(interval, batches)


def _batches(trainer: pl.Trainer) -> float:
    """How many batches there are until the end, or a few more."""
    steps = trainer.max_steps if trainer.max_steps >= 0 else math.inf
    batches = _epochs(trainer) * trainer.num_training_batches
    return (
        batches
        if callbacks_of(trainer, GradientAccumulationScheduler)
        else min(batches, steps * trainer.accumulate_grad_batches)
    )


def _epochs(trainer: pl.Trainer) -> float:
    return trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else math.inf
