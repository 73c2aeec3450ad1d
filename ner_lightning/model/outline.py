"""Backbones without weights: shapes and types alone, from a configuration."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.errors import UserError
from ner_lightning.model.activation_checkpointing import checkpoint_activations
from ner_lightning.model.adapters import adapt
from ner_lightning.model.attention import noting_final_norm
from ner_lightning.model.backbone import Backbone
from ner_lightning.model.masks import hide_right_context
from ner_lightning.model.quiet_transformers import quiet_transformers
from ner_lightning.model.tagger_settings import Architecture, TaggerSettings
from ner_lightning.model.weights import outline_backbone


@quiet_transformers
def outline(settings: TaggerSettings, pretrained: Pretrained, *, bf16: bool, device_type: str) -> Backbone:
    """A backbone as `build_tagger` makes it, without weights: tensors of the meta device.

    Only its configuration is read, its attention is not checked, and `architecture.prepare` is left out.

    Args:
        settings: those of the tagger.
        pretrained: where its configuration is.
        bf16: run it in bf16.
        device_type: `cpu` or `cuda`, where it will run.

    Raises:
        UserError: it cannot be had, or cannot be made what the settings say.
    """
    backbone = outline_backbone(
        pretrained,
        attention=settings.attention,
        dtype=torch.bfloat16 if bf16 else torch.float32,
        implementation=settings.runtime.attn_implementation,
        bf16=bf16,
        device_type=device_type,
        trust_remote_code=settings.runtime.trust_remote_code,
        quantization=settings.quantization,
    )
    architecture = settings.architecture
    cut_layers(backbone, architecture)
    if architecture.unfreeze_top:
        _note_final_norm(backbone)
    adapt(
        backbone,
        freeze=settings.freeze_backbone,
        lora=settings.adapters,
        unfreeze_top=architecture.unfreeze_top,
    )
    if settings.runtime.gradient_checkpointing:
        checkpoint_activations(backbone.layers)
    return backbone


def _note_final_norm(backbone: Backbone) -> None:
    # Of a plain tensor on the meta device, transformers would ask for values.
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with run_explained(backbone), mode, noting_final_norm(backbone), torch.no_grad():
        ids = torch.zeros(1, 2, dtype=torch.long, device="meta")
        backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids))


@contextmanager
def run_explained(backbone: Backbone) -> Iterator[None]:
    """Within it a backbone is run without values, which some of transformers' models ask for.

    Raises:
        UserError: this one does.
    """
    log = logging.getLogger("torch._subclasses.fake_tensor")  # it has the traceback, besides raising it
    was, log.disabled = log.disabled, True
    try:
        yield
    except (RuntimeError, ValueError) as error:
        name, reason = backbone.text_config.model_type, str(error).partition("\n")[0]
        raise UserError(
            f"model.backbone: the memory of {name} cannot be computed without its weights ({reason})"
        ) from error
    finally:
        log.disabled = was


def cut_layers(backbone: Backbone, architecture: Architecture) -> None:
    """Drops layers that are not used, and hides right context from some.

    Raises:
        UserError: the backbone is an encoder-decoder, or cannot be made so.
    """
    if getattr(backbone.config, "is_encoder_decoder", False):
        raise UserError(
            f"model.backbone: {backbone.config.model_type} is an encoder-decoder; "
            "a tagger needs an encoder or a decoder alone"
        )
    if architecture.layers is not None:
        backbone.keep_layers(architecture.layers)
    hide_right_context(backbone, architecture.causal_below)
