"""What a checkpoint holds of a tagger, and whether it belongs to the one at hand."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.errors import UserError
from ner_lightning.model.build import adapter_name, backbone_owners
from ner_lightning.model.pinning import commit_in

BACKBONE = "backbone."
PREFIX = "tagger."  # of the weights' names in a checkpoint file
EMITTER, CRF = "emitter.", "decoder.crf."


def saved_names(tagger: nn.Module) -> set[str]:
    """Names of the parameters that a checkpoint holds: all but the backbone's frozen ones."""
    return {
        name
        for name, parameter in tagger.named_parameters()
        if parameter.requires_grad or f".{BACKBONE}" not in f".{name}"
    }


def state_digest(state: Mapping[str, Tensor]) -> "hashlib._Hash":
    """SHA-256 of parameters in fp32, by their names; more can be added to it."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].float().numpy().tobytes())
    return digest


def expect_stored(module: Any, keys: Any) -> None:
    """After a module's weights were loaded, takes those that are never stored from the missing keys.

    Args:
        module: a LightningModule; only one without `strict_loading` leaves something out of checkpoints.
        keys: what `load_state_dict` returns.
    """
    if not module.strict_loading:
        stored = saved_names(module)
        keys.missing_keys[:] = [name for name in keys.missing_keys if name in stored]


def tagger_name(peft_name: str) -> str:
    """The name in `Tagger` of an adapter's parameter, from PEFT's name for it on disk."""
    stem = peft_name.removesuffix(".weight")
    # Some versions of PEFT write DoRA's magnitudes without the suffix.
    weight = stem != peft_name or stem.endswith("lora_magnitude_vector")
    return f"{EMITTER}{BACKBONE}model.{stem}.default{'.weight' if weight else ''}"


def check_backbone(origin: Mapping[str, Any], name: str, weights: str | None) -> None:
    """Compares the backbone that a checkpoint was trained on with the one that was loaded.

    Args:
        origin: `name` and `weights` from the checkpoint.
        name: the loaded backbone's address.
        weights: the fingerprint of its weights.

    Raises:
        UserError: they differ.
    """
    if origin.get("weights") == weights:
        return
    if origin.get("name") != name:
        advice = "Leave out --backbone and --model.backbone to use the checkpoint's own."
    elif commit := commit_in(str(origin.get("weights"))):
        advice = f"Leave out --model.revision, or set it (in Python `revision`) to {commit}"
    else:
        advice = "Its files have changed since: restore them, or name a folder that has them: --backbone DIR"
    raise UserError(
        f"the checkpoint was trained on {origin.get('name')} ({origin.get('weights')}); "
        f"{name} is not the same ({weights}).\n{advice}"
    )


def check_belongs(
    checkpoint: Mapping[str, Any], name: str, weights: str | None, types: Sequence[str]
) -> None:
    """Checks that a checkpoint has a model's backbone and entity types.

    Args:
        checkpoint: as Lightning reads it.
        name: the address of the model's backbone.
        weights: the fingerprint of its weights.
        types: the model's entity types.

    Raises:
        UserError: it has not.
    """
    check_backbone(checkpoint["backbone"], name, weights)
    # Those of `hyper_parameters` may be what a caller of `load_from_checkpoint` gave.
    check_types(checkpoint["config"]["data"]["types"], types)


def check_types(known: Sequence[str], wanted: Sequence[str]) -> None:
    """Compares a checkpoint's entity types with the model's.

    Raises:
        UserError: they differ, or stand in another order.
    """
    if list(known) != list(wanted):
        raise UserError(
            f"the checkpoint knows the entity types {', '.join(known)}, the data {', '.join(wanted)}.\n"
            f"Set --data.types to [{','.join(known)}], or train anew."
        )


def check_names(names: Iterable[str], wanted: Iterable[str]) -> None:
    """Compares the parameters in a checkpoint with those that the model trained.

    Raises:
        UserError: some are missing or left over.
    """
    lacks, extra = sorted(set(wanted) - set(names)), sorted(set(names) - set(wanted))
    if not lacks and not extra:
        return
    parts = [f"lacks {len(lacks)} (such as {lacks[0]})"] if lacks else []
    parts += [f"has {len(extra)} that the model lacks (such as {extra[0]})"] if extra else []
    raise UserError(
        f"the checkpoint's parameters are not this model's: it {' and '.join(parts)}.\n"
        "Settings such as peft, lora, unfreeze_top and use_crf must be those of its training."
    )


def mean_state(
    states: Sequence[Mapping[str, Tensor]], members: Sequence[Mapping[str, Any]]
) -> dict[str, Tensor]:
    """An ensemble's parameters, from those of its members.

    Args:
        states: what each tagger's checkpoint holds, under the tagger's own names.
        members: `TaggerSettings` of each, as plain values.

    Returns:
        each member's parameters under the ensemble's names, and the mean of the CRFs.
    """
    shared = backbone_owners(members)
    named = {
        _in_ensemble(name, number, shared): value
        for number, state in enumerate(states)
        for name, value in state.items()
        if not name.startswith(CRF)
    }
    crf = [name for name in states[0] if name.startswith(CRF)]
    return named | {name: torch.stack([state[name] for state in states]).mean(0) for name in crf}


def _in_ensemble(name: str, number: int, owners: Sequence[int]) -> str:
    """The ensemble's name for a parameter of one of its members."""
    inner = name.removeprefix(EMITTER)
    owner = owners[number]
    if not inner.startswith(BACKBONE) or owners.count(owner) == 1:
        return f"{EMITTER}members.{number}.{inner}"
    parts = [adapter_name(number) if part == "default" else part for part in inner.split(".")]
    return f"{EMITTER}members.{owner}.{'.'.join(parts)}"
