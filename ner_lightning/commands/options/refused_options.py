"""Options of a recipe that a command does not use at all: refused."""

from collections.abc import Callable, Sequence

from ner_lightning.commands.options.given_options import given, is_of
from ner_lightning.errors import UserError
from ner_lightning.training.resuming import FIXED

# The options of a recipe's trainer that `pretrain` uses; its loggers and callbacks are about taggers.
PRETRAINER = [
    "trainer.accelerator",
    "trainer.strategy",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.precision",
    "trainer.max_epochs",
    "trainer.accumulate_grad_batches",
    "trainer.gradient_clip_val",
    "trainer.gradient_clip_algorithm",
    "trainer.deterministic",
    "trainer.log_every_n_steps",
    "trainer.use_distributed_sampler",
    "trainer.num_sanity_val_steps",
    "trainer.enable_model_summary",
]
# What matters while a trained tagger is scored. What its weights fix is compared with the checkpoint, and
# options of the trainer that leave out batches have messages of their own.
_SCORER = [
    *FIXED["weights"],
    "model.backbone",
    "model.revision",
    "model.members",
    "model.architecture.constrained",
    "model.loss.ce",
    "model.loss.crf",
    "model.loss.ls",
    "model.loss.missed",
    "model.loss.parts",
    "model.runtime.attn_implementation",
    "model.runtime.compile",
    "model.runtime.trust_remote_code",
    "data.dataset",
    "data.source",
    "data.types",
    "data.encoding",
    "data.batches.eval_size",
    "data.batches.tokens",
    "data.batches.packing",
    *(name for name in FIXED["training"] if name.startswith("data.files.")),
    "data.files.config",
    "data.files.revision",
    "trainer.accelerator",
    "trainer.strategy",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.precision",
    "trainer.logger",
    "trainer.callbacks",
    "trainer.plugins",
    "trainer.profiler",
    "trainer.deterministic",
    "trainer.benchmark",
    "trainer.inference_mode",
    "trainer.enable_progress_bar",
    "trainer.enable_autolog_hparams",
    "trainer.fast_dev_run",
    "trainer.overfit_batches",
    "trainer.limit_val_batches",
    "trainer.limit_test_batches",
]
_NO_SCORER = ["checkpoint_every_n_steps", "data.files.unannotated"]
_PROMPTED = ["model.backbone", "model.revision", "model.runtime.trust_remote_code", "trainer.precision"]
# What concerns the tagger alone: what it adds to its backbone, and how it is trained.
_TAGGER = [
    "model.architecture.pooling",
    "model.architecture.dropout",
    "model.use_crf",
    "model.architecture.constrained",
    "model.loss",
    "model.optimizer.head_lr",
    "model.optimizer.crf_lr",
    "model.optimizer.averaging",
    "model.cache",
    "data.test",
    "data.files.unannotated",
    "data.supervision.sentence_weights",
    "data.supervision.text_weight",
    "log_text",
]
# What concerns a training, or batches of it.
_TRAINED = [
    "checkpoint_every_n_steps",
    "log_text",
    "seed_everything",
    "data.batches",
    "data.encoding",
    "data.supervision",
]


def refuse_unused(words: Sequence[str], command: str) -> None:
    """Raises UserError at an option that validate, test, baseline or pretrain does not use at all."""
    for option in given(words):
        if UNUSED[command](option):
            raise UserError(f"--{option} has no effect in `{command}`; leave it out")


def _of_recipe(option: str) -> bool:
    return is_of(option, ("model", "data", "trainer"))


def _unscored(option: str, own: Sequence[str]) -> bool:
    return is_of(option, _NO_SCORER) or (_of_recipe(option) and not is_of(option, [*_SCORER, *own]))


# Whether an option is one that a command does not use.
UNUSED: dict[str, Callable[[str], bool]] = {
    "validate": lambda option: _unscored(option, ["data.valid", "data.limits.valid"]),
    "test": lambda option: _unscored(option, ["data.test"]),
    "baseline": lambda option: (
        (is_of(option, ("model", "trainer")) and not is_of(option, _PROMPTED)) or is_of(option, _TRAINED)
    ),
    "pretrain": lambda option: (
        is_of(option, _TAGGER) or (is_of(option, ("trainer",)) and not is_of(option, PRETRAINER))
    ),
}
