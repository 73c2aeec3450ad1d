"""Turns an open LLM into a named-entity tagger, as a Lightning experiment described by one YAML.

The public names below are stable. They load on first use, so that importing the package imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ner_lightning.commands.api import RunResult, distill, evaluate, train
    from ner_lightning.data.corpus_settings import Batches, Encoding, Files, Limits, Supervision
    from ner_lightning.data.readers.sentences import read_sentences
    from ner_lightning.data.schemes import LabelSet
    from ner_lightning.data.sources import SentenceSource, Split
    from ner_lightning.errors import UserError
    from ner_lightning.inference.calibration import calibrate
    from ner_lightning.inference.ner_tagger import NERTagger
    from ner_lightning.inference.result import Entity, Tagged
    from ner_lightning.inference.tagger_group import TaggerGroup
    from ner_lightning.metrics.entity_f1 import EntityF1
    from ner_lightning.model.adapters import Lora
    from ner_lightning.model.crf.layer import CRF
    from ner_lightning.model.extensions import LossPart, Preparation
    from ner_lightning.model.loss import Loss
    from ner_lightning.model.tagger_settings import Architecture, Cache, Runtime
    from ner_lightning.training.datamodule import CoNLLDataModule
    from ner_lightning.training.module import NERModule
    from ner_lightning.training.optim import Optimizer

    __version__: str

__all__ = [
    "CRF",
    "Architecture",
    "Batches",
    "Cache",
    "CoNLLDataModule",
    "Encoding",
    "Entity",
    "EntityF1",
    "Files",
    "LabelSet",
    "Limits",
    "Lora",
    "Loss",
    "LossPart",
    "NERModule",
    "NERTagger",
    "Optimizer",
    "Preparation",
    "RunResult",
    "Runtime",
    "SentenceSource",
    "Split",
    "Supervision",
    "Tagged",
    "TaggerGroup",
    "UserError",
    "__version__",
    "calibrate",
    "distill",
    "evaluate",
    "read_sentences",
    "train",
]

_MODULES = {
    "Architecture": "model.tagger_settings",
    "Batches": "data.corpus_settings",
    "CRF": "model.crf.layer",
    "Cache": "model.tagger_settings",
    "CoNLLDataModule": "training.datamodule",
    "Encoding": "data.corpus_settings",
    "Entity": "inference.result",
    "EntityF1": "metrics.entity_f1",
    "Files": "data.corpus_settings",
    "LabelSet": "data.schemes",
    "Limits": "data.corpus_settings",
    "Lora": "model.adapters",
    "Loss": "model.loss",
    "LossPart": "model.extensions",
    "NERModule": "training.module",
    "NERTagger": "inference.ner_tagger",
    "Optimizer": "training.optim",
    "Preparation": "model.extensions",
    "RunResult": "commands.api",
    "Runtime": "model.tagger_settings",
    "SentenceSource": "data.sources",
    "Split": "data.sources",
    "Supervision": "data.corpus_settings",
    "Tagged": "inference.result",
    "TaggerGroup": "inference.tagger_group",
    "UserError": "errors",
    "calibrate": "inference.calibration",
    "distill": "commands.api",
    "evaluate": "commands.api",
    "read_sentences": "data.readers.sentences",
    "train": "commands.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("ner-lightning")
    elif name in _MODULES:
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next access finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
