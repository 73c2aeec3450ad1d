"""What a checkpoint holds of a tagger, and whether it belongs to the one at hand."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from ner_lightning.errors import UserError

BACKBONE = "backbone."


def kept_names(tagger: nn.Module) -> set[str]:
    """Names of the parameters that a checkpoint holds: all but the backbone's frozen ones."""
    return {
        name
        for name, parameter in tagger.named_parameters()
        if parameter.requires_grad or f".{BACKBONE}" not in f".{name}"
    }


def check_backbone(origin: Mapping[str, Any], name: str, weights: str | None) -> None:
    """Compares the backbone that a checkpoint was trained on with the one that was loaded.

    Args:
        origin: `name` and `weights` from the checkpoint.
        name: the loaded backbone's address.
        weights: a word for its exact weights.

    Raises:
        UserError: they differ.
    """
    if origin.get("weights") != weights:
        raise UserError(
            f"the checkpoint was trained on {origin.get('name')} ({origin.get('weights')}); "
            f"{name} is not the same ({weights}).\n"
            "Leave out --model.backbone and --model.revision to use the checkpoint's own."
        )


def check_types(held: Sequence[str], wanted: Sequence[str]) -> None:
    """Compares a checkpoint's entity types with the model's.

    Raises:
        UserError: they differ, or stand in another order.
    """
    if list(held) != list(wanted):
        raise UserError(
            f"the checkpoint knows the entity types {', '.join(held)}, the data {', '.join(wanted)}.\n"
            f"Set --data.types to [{','.join(held)}], or train anew."
        )


def check_names(held: Iterable[str], wanted: Iterable[str]) -> None:
    """Compares the parameters in a checkpoint with those that the model trained.

    Raises:
        UserError: some are missing or left over.
    """
    lacks, extra = sorted(set(wanted) - set(held)), sorted(set(held) - set(wanted))
    if not lacks and not extra:
        return
    parts = [f"lacks {len(lacks)} (such as {lacks[0]})"] if lacks else []
    parts += [f"has {len(extra)} that the model lacks (such as {extra[0]})"] if extra else []
    raise UserError(
        f"the checkpoint's parameters are not this model's: it {' and '.join(parts)}.\n"
        "Settings such as peft, lora, unfreeze_top and use_crf must be those of its training."
    )
