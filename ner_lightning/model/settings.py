"""Everything that decides which function a tagger computes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora
from ner_lightning.model.backbone import Attention
from ner_lightning.model.extensions import Preparation, preparation
from ner_lightning.model.loss import LossWeights
from ner_lightning.system.ranges import BelowOne, NonNegativeInt, PositiveInt, check_arguments

Pooling = Literal["first", "last", "mean"]
# Fields of Architecture that NERModule's settings hold under the same name, as plain values.
PLAIN = (
    "attention",
    "causal_below",
    "layers",
    "freeze_backbone",
    "unfreeze_top",
    "pooling",
    "dropout",
    "word_dropout",
    "use_crf",
    "constrained",
)
# All of NERModule's settings that decide what is computed, and from what.
DECIDING = (*PLAIN, "prepare", "peft", "lora", "loss", "backbone", "revision", "attn_implementation")


@dataclass(frozen=True)
class Architecture:
    """Everything that decides which function a tagger computes; each field as at `NERModule`."""

    attention: Attention = "bidirectional"
    causal_below: NonNegativeInt = 0
    layers: PositiveInt | None = None
    freeze_backbone: bool = True
    lora: Lora | None = None
    unfreeze_top: NonNegativeInt = 0
    pooling: Pooling = "last"
    dropout: BelowOne = 0.1
    word_dropout: BelowOne = 0.0
    use_crf: bool = True
    constrained: bool = True
    weights: LossWeights = field(default=LossWeights())
    prepare: Preparation | None = None

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "model.")
        if self.causal_below and self.attention == "causal":
            raise UserError(
                f"model.causal_below is {self.causal_below}; it counts the causal layers at the bottom of a "
                "backbone whose model.attention is bidirectional"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, trust: bool = False) -> "Architecture":
        """Reads it from `NERModule`'s settings, as objects or as the plain values of a config.

        Args:
            settings: those settings.
            trust: import the class that plain values name as a preparation.

        Raises:
            UserError: there is such a class and it is not trusted, or a setting is out of its range.
        """
        lora, weights = settings["lora"], settings["loss"]
        lora = lora if isinstance(lora, Lora) else Lora(**lora)
        return cls(
            lora=lora if settings["peft"] == "lora" else None,
            weights=weights if isinstance(weights, LossWeights) else LossWeights(**weights),
            prepare=preparation(settings.get("prepare"), trust=trust),  # absent from older checkpoints
            **{name: settings[name] for name in PLAIN if name in settings},
        )
