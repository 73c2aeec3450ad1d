"""Options that have no effect beside others: reported, with the reason.

Most rules are for options on the command line only. A config may hold settings that another one turns off:
that is how overlays work.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from lightning.pytorch.loggers import WandbLogger

from ner_lightning.commands.options.given_options import given, is_of
from ner_lightning.commands.options.trainer_options import class_of, class_specs
from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.sources import SAMPLE
from ner_lightning.system.progress import stage
from ner_lightning.system.user_paths import expanded

# Those that shorten a tagger's training or validation, with the values at which they do not. A recipe without
# them may train for hours longer than it was written for.
_LIMITS: dict[str, Any] = {
    "max_steps": -1,
    "max_time": None,
    "limit_train_batches": None,
    "limit_val_batches": None,
    "overfit_batches": 0.0,
    "fast_dev_run": False,
}
_FILES = ("data.train", "data.valid", "data.test")
_HUB = ("data.files.config", "data.files.revision")
# How files are read; `unannotated` acts on the sentences of any source.
_FIELDS = tuple(
    f"data.files.{field.name}"
    for field in fields(Files)
    if field.name not in ("config", "revision", "unannotated")
)


class Rule(NamedTuple):
    """Options, and all below them, that have no effect where `unused` is true of a configuration."""

    options: Sequence[str]
    unused: Callable[[Any], bool]
    reason: str


def _all_files(config: Any) -> bool:
    return all(getattr(config.data, option.removeprefix("data.")) for option in _FILES)


def _local(config: Any) -> bool:
    dataset = config.data.dataset
    return _all_files(config) or dataset == SAMPLE or expanded(dataset).exists()


def _without_wandb(config: Any) -> bool:
    return not any(issubclass(class_of(each), WandbLogger) for each in class_specs(config.trainer.logger))


RULES = (
    Rule(("model.lora",), lambda c: c.model.peft == "none", "model.peft is none, so there are no adapters"),
    Rule(
        ("model.optimizer.crf_lr", "model.loss.crf"),
        lambda c: not c.model.use_crf,
        "model.use_crf is false, so there is no CRF",
    ),
    Rule(
        ("model.optimizer.crf_lr",),
        lambda c: c.model.use_crf and not c.model.loss.crf and c.data.supervision.teacher is None,
        "model.loss.crf is 0, so the CRF is not trained",
    ),
    Rule(
        ("model.architecture.unfreeze_top",),
        lambda c: not c.model.freeze_backbone and c.model.peft == "none",
        "model.freeze_backbone is false, so all layers are trained",
    ),
    Rule(
        ("model.optimizer.lr",),
        lambda c: (
            c.model.freeze_backbone
            and c.model.peft == "none"
            and not c.model.architecture.unfreeze_top
            and c.model.optimizer.head_lr is not None
        ),
        "nothing of the backbone is trained, and the head has model.optimizer.head_lr",
    ),
    Rule(
        ("data.supervision.text_weight",),
        lambda c: c.data.supervision.teacher is None,
        "data.supervision.teacher is not set, so there is no teacher",
    ),
    Rule(
        ("model.cache.folder", "model.cache.limit_gb"),
        lambda c: not c.model.cache.enabled,
        "model.cache.enabled is false",
    ),
    Rule(
        ("model.revision",),
        lambda c: (
            c.model.backbone.endswith(".gguf")
            or c.model.backbone.startswith("package:")
            or expanded(c.model.backbone).is_dir()
        ),
        "the backbone is not on the Hub",
    ),
    Rule(
        ("data.batches.size", "data.batches.eval_size"),
        lambda c: c.data.batches.tokens is not None,
        "data.batches.tokens decides how large a batch is",
    ),
    Rule(
        ("data.dataset", *_FILES, *_HUB, *_FIELDS),
        lambda c: c.data.source is not None,
        "sentences come from data.source",
    ),
    Rule(
        ("data.dataset",),
        _all_files,
        "each split has a file of its own",
    ),
    Rule(_HUB, _local, "the data are local files"),
    Rule(
        ("trainer.gradient_clip_algorithm",),
        lambda c: not c.trainer.gradient_clip_val,
        "trainer.gradient_clip_val is not set",
    ),
    Rule(("log_text",), _without_wandb, "trainer.logger names no logger of W&B"),
)


def report_unused(words: Sequence[str], config: Any) -> None:
    """Prints which options on the command line have no effect beside the others in `config`.

    They are not refused: a ladder or a sweep gives every run the same options.
    """
    for option in given(words):
        for rule in RULES:
            if is_of(option, rule.options) and rule.unused(config):
                stage(f"--{option} has no effect here: {rule.reason}.")


def report_unused_of_recipe(config: Any) -> None:
    """Prints what of a recipe `pretrain` does not keep to: it trains whole epochs, and averages nothing."""
    trainer, averaging = config.trainer, config.model.optimizer.averaging
    if averaging:
        stage(
            f"model.optimizer.averaging ({averaging}) of the recipe has no effect in `pretrain`: the weights "
            "of the last step are kept."
        )
    for name, unlimited in _LIMITS.items():
        if trainer[name] != unlimited:
            stage(
                f"trainer.{name} ({trainer[name]}) of the recipe has no effect in `pretrain`: it trains "
                f"{trainer.max_epochs} whole epochs (trainer.max_epochs)."
            )
