"""Values of the Trainer's options that a command refuses: it sets them itself, or they do nothing."""

from collections.abc import Mapping
from typing import Any

from ner_lightning.errors import UserError
from ner_lightning.training.trainer_checks import is_whole

# Options that do nothing where they are on. `logger: false` does: it drops those of a recipe.
_IDLE: Mapping[str, str] = {
    "logger": "a run writes its own metrics.csv; others are named by class_path",
    "limit_predict_batches": "`ner-lightning predict` does not use the trainer",
    "use_distributed_sampler": "a sampler of its own deals batches out to processes",
    "sync_batchnorm": "no layer has statistics of batches",
    "reload_dataloaders_every_n_epochs": "the data stay as they are, and are shuffled in each epoch",
}


def check_values(trainer: Any) -> None:
    """Refuses values of options that the command sets itself, and those that do nothing.

    Args:
        trainer: the parsed options of the trainer.

    Raises:
        UserError: there is such a value.
    """
    if trainer.default_root_dir is not None:
        raise UserError(
            f"trainer.default_root_dir is {trainer.default_root_dir}, but everything goes into the run's "
            "folder; set runs and name instead"
        )
    if trainer.enable_checkpointing is False:
        raise UserError("trainer.enable_checkpointing is false, but a run needs checkpoints; leave it out")
    if trainer.barebones:
        raise UserError("trainer.barebones switches off checkpoints and logging; leave it out")
    if trainer.model_registry is not None:
        raise UserError(
            f"trainer.model_registry is {trainer.model_registry}, but checkpoints stay in the run's folder; "
            "leave it out, and share a tagger with ner-lightning export"
        )
    for name, reason in _IDLE.items():
        if trainer[name] and (name != "logger" or trainer[name] is True):
            raise UserError(f"trainer.{name} has no effect here: {reason}; leave it out")


def check_scored(trainer: Any, *, fits: bool) -> None:
    """Refuses a score of some batches: they are in order of length, so the longest sentences come first.

    Args:
        trainer: the parsed options of the trainer.
        fits: whether it trains, which may do without a score.

    Raises:
        UserError: an option leaves out batches of a split that is scored.
    """
    for name, instead in (("limit_val_batches", "data.limits.valid"), ("limit_test_batches", "data.test")):
        value = trainer[name]
        if not is_whole(value) and not (fits and value == 0):
            raise UserError(
                f"trainer.{name} is {value}, but the longest sentences come first, so that the scores would "
                f"be theirs alone;\nset {instead} instead"
            )
    for name in () if fits else ("overfit_batches", "fast_dev_run"):
        if trainer[name]:
            raise UserError(f"trainer.{name} is for a fit: some batches alone would be scored; leave it out")
