"""Loads a backbone and puts a tagger around it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ner_lightning.data.pretrained import Pretrained, locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.errors import UserError
from ner_lightning.model.adapters import adapt, frozen_layers
from ner_lightning.model.attention import verify_attention
from ner_lightning.model.backbone import (
    AttentionImplementation,
    checkpoint_activations,
    compile_layers,
    identity,
    keep_layers,
    load_backbone,
)
from ner_lightning.model.ensemble import Ensemble
from ner_lightning.model.masks import hide_right_context
from ner_lightning.model.settings import Architecture
from ner_lightning.model.tagger import Tagger
from ner_lightning.system.progress import stage


def build_tagger(
    pretrained: Pretrained,
    labels: LabelSet,
    architecture: Architecture,
    *,
    bf16: bool = False,
    implementation: AttentionImplementation = "auto",
    device_type: str = "cpu",
    checkpointing: bool = False,
    compiled: bool = False,
    cached: bool = False,
    mergeable: bool = False,
    packed: bool = False,
    trust_remote_code: bool = False,
) -> tuple[Tagger, str]:
    """Loads the backbone and puts a tagger around it.

    Args:
        pretrained: where the backbone is.
        labels: the label set.
        architecture: what to build.
        bf16: run the backbone in bf16, and keep in bf16 what of it is not trained.
        implementation: of attention.
        device_type: `cpu` or `cuda`, where it will run.
        checkpointing: recompute activations in the backward pass.
        compiled: compile each layer.
        cached: leave layers uncompiled whose outcome is kept: they run only once.
        mergeable: keep all weights in fp32, so that adapters can be merged into them; see `Tagger.merge`.
        packed: it will be given packed rows.
        trust_remote_code: run code that comes with the weights.

    Returns:
        the tagger, and a word for the exact weights of its backbone.
    """
    quiet_loading()
    asks_hub = pretrained.on_hub and not pretrained.kwargs["local_files_only"]
    stage(f"Loading {pretrained.label}{', downloading what the cache lacks' if asks_hub else ''} ...")
    model = load_backbone(
        pretrained,
        attention=architecture.attention,
        dtype=torch.bfloat16 if bf16 and not mergeable else torch.float32,
        implementation=implementation,
        bf16=bf16,
        device_type=device_type,
        trust_remote_code=trust_remote_code,
    )
    weights_id = identity(pretrained)
    if architecture.prepare is not None:
        weights_id += f" {architecture.prepare!r}"
    model = set_up(model, architecture, bf16=bf16, packed=packed)
    if checkpointing:
        checkpoint_activations(model)
    if compiled:
        compile_layers(model, below=frozen_layers(model) if cached else 0)
    config: Any = model.config
    return Tagger(model, labels, architecture, config.get_text_config().hidden_size, bf16), weights_id


def build(
    pretrained: Pretrained,
    labels: LabelSet,
    architecture: Architecture,
    members: Sequence[Mapping[str, Any]] | None = None,
    **how: Any,
) -> tuple[Tagger, str]:
    """Makes a tagger, or an ensemble if it has further members.

    Args:
        pretrained: where the backbone is, or that of the first member.
        labels: the label set.
        architecture: what to build; an ensemble's CRF, constraints and loss weights are the first member's.
        members: the settings of the others, as `Architecture.of` reads them, with `backbone` and `revision`.
        how: as for `build_tagger`.

    Returns:
        the tagger, and a word for the exact weights of its backbones.
    """
    if not members:
        return build_tagger(pretrained, labels, architecture, **how)
    parts = [(pretrained, architecture)]
    trust = bool(how.get("trust_remote_code"))
    parts += [
        (locate(each["backbone"], each["revision"]), Architecture.of(each, trust=trust)) for each in members
    ]
    built = [build_tagger(place, labels, replace(part, use_crf=False), **how) for place, part in parts]
    taggers, weights = zip(*built, strict=True)
    return Ensemble(taggers, architecture), joined(weights)


def joined(weights: Sequence[str]) -> str:
    """A word for the exact weights of several backbones."""
    return " + ".join(weights)


def set_up(
    model: nn.Module, architecture: Architecture, *, bf16: bool = False, packed: bool = False
) -> nn.Module:
    """Makes a loaded backbone what the architecture says: its layers, their attention, what is trained.

    Args:
        model: from `load_backbone`, in place.
        architecture: what to make of it.
        bf16: it is run in bf16.
        packed: it will be given packed rows.

    Returns:
        the backbone, wrapped by PEFT if there are adapters.

    Raises:
        UserError: it is an encoder-decoder, or cannot be made what the architecture says.
    """
    if architecture.prepare is not None:
        model = architecture.prepare(model)
    if architecture.layers is not None:
        keep_layers(model, architecture.layers)
    config: Any = model.config
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"model.backbone: {config.model_type} is an encoder-decoder; "
            "a tagger needs an encoder or a decoder alone"
        )
    hide_right_context(model, architecture.causal_below)
    stage(f"Proving that its attention is {architecture.attention} ...")
    verify_attention(
        model, architecture.attention, bf16=bf16, packed=packed, causal_below=architecture.causal_below
    )
    return adapt(
        model,
        freeze=architecture.freeze_backbone,
        lora=architecture.lora,
        unfreeze_top=architecture.unfreeze_top,
    )


def quiet_loading() -> None:
    """Silences what transformers says of its own progress; errors and downloads stay."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    downloads = not are_progress_bars_disabled()

    logging.set_verbosity_error()
    logging.disable_progress_bar()  # the Hub's as well, so those are taken back
    if downloads:
        enable_progress_bars()
