"""Whether a trainer and its data fit a module; the command checks more of a trainer's options before."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging

from ner_lightning.data.tokenization.encoding import load_tokenizer
from ner_lightning.data.tokenization.tokenizer_source import TokenizerSource
from ner_lightning.errors import UserError
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.system.precision import PRECISIONS
from ner_lightning.system.progress import warn
from ner_lightning.training.datamodule import CoNLLDataModule

# Lightning's callbacks that average weights. WeightAveraging's checkpoints would hold the frozen backbone.
AVERAGES: dict[type, str] = {
    StochasticWeightAveraging: "it would average nothing; set model.optimizer.averaging instead",
    WeightAveraging: "set model.optimizer.averaging instead",
}


def is_whole(limit: float | None) -> bool:
    """Whether a trainer's limit of batches leaves none out; 1 is one batch, 1.0 all of them."""
    return limit is None or (isinstance(limit, float) and limit == 1)


def check_built_trainer(trainer: pl.Trainer) -> None:
    """Refuses what would train or score something else than was asked for.

    Raises:
        UserError: the precision does not leave trained weights in fp32, or a callback averages them.
    """
    if trainer.precision not in PRECISIONS:
        raise UserError(
            f"Trainer(precision={trainer.precision!r}) is not supported: trained weights must stay in fp32.\n"
            f"Use one of {', '.join(PRECISIONS)}; bf16-mixed also loads a frozen backbone in bf16."
        )
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for each in callbacks:
        for base, reason in AVERAGES.items():
            if isinstance(each, base):
                raise UserError(f"{type(each).__name__} cannot be used: {reason}")
    if trainer.fast_dev_run or trainer.overfit_batches:  # type: ignore[attr-defined]
        return  # Lightning has set the limits below
    for name in ("limit_val_batches", "limit_test_batches"):
        limit = getattr(trainer, name)
        if limit and not is_whole(limit):
            warn(f"Trainer({name}={limit}): the longest sentences come first, so scores are theirs alone.")


def check_encoded_data(settings: TaggerSettings, types: Sequence[str], data: CoNLLDataModule) -> None:
    """Refuses data that are encoded for another module.

    Args:
        settings: the module's.
        types: its entity types.
        data: what it is trained or scored on.

    Raises:
        UserError: the tags are numbered in another way, or the sub-tokens are another tokenizer's.
    """
    if data.types != list(types):
        raise UserError(
            f"the module's entity types are {', '.join(types)}, those of the data {', '.join(data.types)}: "
            "names and order must agree.\n"
            f"Give the data module the module's: CoNLLDataModule(types={list(types)}, ...)"
        )
    own = TokenizerSource(settings.backbone, settings.revision, settings.runtime.trust_remote_code)
    used = data.corpus.tokenizer
    if (used.backbone, used.revision) != (own.backbone, own.revision) and _vocabulary(used) != _vocabulary(
        own
    ):
        raise UserError(
            f"the data are split into sub-tokens by the tokenizer of {used.backbone}, but the module's "
            f"backbone is {own.backbone}.\n"
            f"Give the data module backbone={own.backbone!r}, backbone_revision={own.revision!r}"
        )


def _vocabulary(source: TokenizerSource) -> dict[str, int]:
    tokenizer = load_tokenizer(source.pretrained, trust_remote_code=source.trust_remote_code)
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return vocabulary
