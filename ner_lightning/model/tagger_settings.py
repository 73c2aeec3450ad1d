"""Settings of a tagger: what decides which function it computes, and how it is run."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora
from ner_lightning.model.backbone import Attention, AttentionImplementation
from ner_lightning.model.extensions import Preparation, preparation
from ner_lightning.model.loss import Loss
from ner_lightning.model.quantization import Quantization
from ner_lightning.system.plain_settings import build, fixed
from ner_lightning.system.ranges import BelowOne, NonNegativeInt, PositiveFloat, PositiveInt, check_arguments

Peft = Literal["none", "lora"]
Pooling = Literal["first", "last", "mean"]


@dataclass(frozen=True)
class Architecture:
    """What the tagger is made of, beside the settings that are used daily.

    Args:
        layers: use only this many layers, from the bottom; null uses all.
        causal_below: layers at the bottom that stay causal when the others are bidirectional.
        unfreeze_top: train this many of the last layers whole.
        pooling: which of a word's sub-tokens represents it: `first`, `last`, or their `mean`.
        dropout: on word vectors.
        constrained: decode only legal BIO2 sequences.
        prepare: changes the loaded backbone first: a `Preparation` of your own, by `class_path`.
    """

    layers: PositiveInt | None = fixed("weights", None)
    causal_below: NonNegativeInt = fixed("weights", 0)
    unfreeze_top: NonNegativeInt = fixed("weights", 0)
    pooling: Pooling = fixed("weights", "last")
    dropout: BelowOne = 0.1
    constrained: bool = fixed("training", True)
    prepare: Preparation | None = fixed("weights", None)

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "model.architecture.")


@dataclass(frozen=True)
class Runtime:
    """How the backbone is run; none of it changes what is computed, but for rounding.

    Args:
        attn_implementation: of attention; `auto` takes what measured fastest.
        gradient_checkpointing: recompute activations in the backward pass: less memory, slower.
        compile: compile the backbone's layers: a minute at the start, then faster.
        trust_remote_code: run Python code that comes with the backbone's weights.
    """

    attn_implementation: AttentionImplementation = "auto"
    gradient_checkpointing: bool = False
    compile: bool = False
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "model.runtime.")


@dataclass(frozen=True)
class Cache:
    """Keeps on disk what the frozen layers compute, for every epoch and every later run.

    Args:
        enabled: use it; needs a frozen backbone, with adapters (if any) on the top layers only.
        folder: the cache's folder; null is `ner-lightning` in the user's cache folder.
        limit_gb: the most that one split may take, in GB.
    """

    enabled: bool = False
    folder: str | None = None
    limit_gb: PositiveFloat = 20.0

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "model.cache.")

    @property
    def path(self) -> Path:
        """The folder."""
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        return Path(self.folder or base / "ner-lightning").expanduser()


@dataclass(frozen=True, kw_only=True)
class TaggerSettings:
    """Everything that decides which function a tagger computes; defaults and meanings are `NERModule`'s."""

    backbone: str
    revision: str | None = None
    attention: Attention = fixed("weights")
    freeze_backbone: bool = fixed("weights")
    peft: Peft = fixed("weights")
    use_crf: bool = fixed("weights")
    quantization: Quantization = fixed("weights", "none")
    lora: Lora = Lora()
    architecture: Architecture = Architecture()
    loss: Loss = Loss()
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        object.__setattr__(self, "backbone", os.fspath(self.backbone))  # it may be a path
        below = self.architecture.causal_below
        if below and self.attention == "causal":
            raise UserError(
                f"model.architecture.causal_below is {below}; it counts the causal layers at the bottom of a "
                "backbone whose model.attention is bidirectional"
            )
        if self.quantization != "none":
            self._check_quantized()

    def _check_quantized(self) -> None:
        """Raises UserError where weights would be trained that are quantised, and so cannot be."""
        trained = {
            "model.freeze_backbone false": not self.freeze_backbone,
            "model.architecture.unfreeze_top above 0": self.architecture.unfreeze_top > 0,
        }
        for setting, trains in trained.items():
            if trains:
                raise UserError(
                    f"model.quantization {self.quantization} and {setting}: weights of so few bits cannot be "
                    "trained;\nleave the backbone frozen, and train adapters (model.peft lora)"
                )

    @property
    def adapters(self) -> Lora | None:
        """The adapters to add; None for none."""
        return self.lora if self.peft == "lora" else None

    @classmethod
    def read(cls, values: Mapping[str, Any], *, trust: bool = False) -> "TaggerSettings":
        """Reads plain values, as a config, a checkpoint or an exported folder has them.

        Args:
            values: those of `NERModule`; others are ignored, and the parts of the loss that are a
                project's own, since only training uses them.
            trust: import the class that they name as a preparation, and run code that comes with the
                backbone; what the values say of trust counts nothing.

        Raises:
            UserError: there is such a class and it is not trusted, or a setting is out of its range.
        """
        architecture, loss = values.get("architecture") or {}, values.get("loss") or {}
        prepared = preparation(architecture.get("prepare"), trust=trust)
        known = {
            **values,
            "architecture": {**architecture, "prepare": prepared},
            "loss": {**loss, "parts": None},
            "runtime": {**(values.get("runtime") or {}), "trust_remote_code": trust},
        }
        return build(cls, known)
