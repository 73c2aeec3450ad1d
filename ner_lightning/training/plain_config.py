"""What a recipe and a run would say of a training that a plain Trainer ran, as every loader needs it."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl

from ner_lightning.data.batching import EncodedDataset
from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.system.plain_settings import to_plain
from ner_lightning.training.datamodule import CoNLLDataModule

LINKED = {"types", "members", "seed"}  # what the command takes from other settings


def plain_config(trainer: pl.Trainer, settings: Mapping[str, Any], types: Sequence[str]) -> dict[str, Any]:
    """What a recipe would say of a training that was started in Python.

    Args:
        trainer: of the training.
        settings: the module's hyper-parameters.
        types: the entity types.
    """
    data: Any = getattr(trainer, "datamodule", None)
    described = data.hparams if isinstance(data, CoNLLDataModule) else {"encoding": _encoding(trainer)}
    return {
        "trainer": {"precision": trainer.precision},
        "model": {name: value for name, value in settings.items() if name not in LINKED},
        "data": {name: value for name, value in described.items() if name not in LINKED}
        | {"types": list(types)},
    }


def plain_data(trainer: pl.Trainer) -> dict[str, str]:
    """The fingerprints of the splits that a training has read; none with loaders of one's own."""
    data: Any = getattr(trainer, "datamodule", None)
    return data.corpus.fingerprints() if isinstance(data, CoNLLDataModule) else {}


def _encoding(trainer: pl.Trainer) -> dict[str, Any]:
    """How the sentences of a trainer's loaders were encoded; by default, if they are of another class."""
    for loader in (trainer.train_dataloader, trainer.val_dataloaders):
        dataset = getattr(loader, "dataset", None)
        if isinstance(dataset, EncodedDataset) and dataset.encoding is not None:
            return dict(to_plain(dataset.encoding))
    return dict(to_plain(Encoding()))
