"""Turns an open LLM into a named-entity tagger, as a Lightning experiment described by one YAML.

The public names below are stable. They load on first use, so that importing the package imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ner_lightning.commands.api import distill, evaluate, train
    from ner_lightning.data.schemes import LabelSet
    from ner_lightning.inference.ner_tagger import NERTagger
    from ner_lightning.metrics.entity_f1 import EntityF1
    from ner_lightning.model.crf.layer import CRF
    from ner_lightning.training.datamodule import CoNLLDataModule
    from ner_lightning.training.module import NERModule

    __version__: str

__all__ = [
    "CRF",
    "CoNLLDataModule",
    "EntityF1",
    "LabelSet",
    "NERModule",
    "NERTagger",
    "__version__",
    "distill",
    "evaluate",
    "train",
]

_MODULES = {
    "CRF": "model.crf.layer",
    "CoNLLDataModule": "training.datamodule",
    "EntityF1": "metrics.entity_f1",
    "LabelSet": "data.schemes",
    "NERModule": "training.module",
    "NERTagger": "inference.ner_tagger",
    "distill": "commands.api",
    "evaluate": "commands.api",
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
