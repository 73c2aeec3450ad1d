"""Attention masks: which sub-tokens attend to which, in padded rows and in packed ones."""

from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.errors import UserError
from ner_lightning.model.backbone import Backbone, MaskForm

IMPLEMENTATIONS = ("eager", "sdpa")  # those that take a mask of our own


def mask_forms(backbone: Backbone) -> tuple[MaskForm, ...]:
    """The forms of mask that a backbone may be given, the fastest first.

    A backbone with sliding windows must make its own mask, and so must attention that takes none of ours.
    """
    text = backbone.text_config
    if text._attn_implementation not in IMPLEMENTATIONS or has_windows(text):
        return ("2d",)
    return ("none_if_unpadded", "4d", "2d")


def attention_inputs(backbone: Backbone, batch: Batch, dtype: torch.dtype) -> dict[str, Tensor | None]:
    """Mask and positions for a batch, made without waiting for the device.

    A 2-d mask of real sub-tokens would be looked at by transformers on the host in every step, to see
    whether there is padding at all; where the backbone permits there is no mask then.

    Args:
        backbone: whose form of mask is used.
        batch: padded or packed.
        dtype: of the attention scores.

    Returns:
        keyword arguments for the backbone.

    Raises:
        UserError: the batch is packed, and this backbone's positions or windows would not survive that.
    """
    form = backbone.mask_form or mask_forms(backbone)[0]
    if batch.positions is not None:
        check_packing(backbone)
        window = (batch.positions == 0).cumsum(-1)  # (1, T)
        seen = window.unsqueeze(-1) == window.unsqueeze(-2)  # (1, T, T)
        return {"attention_mask": _additive(seen, backbone.config, dtype), "position_ids": batch.positions}
    if form == "2d":
        return {"attention_mask": batch.attention_mask.long()}
    if form == "none_if_unpadded" and not batch.padded:
        return {"attention_mask": None}
    width = batch.attention_mask.shape[1]
    seen = batch.attention_mask.unsqueeze(1).expand(-1, width, -1)  # (R, T, T)
    return {"attention_mask": _additive(seen, backbone.config, dtype)}


def hidden_states(backbone: Backbone, batch: Batch) -> Tensor:
    """A backbone's last hidden states, computed in bf16 if `backbone.bf16`.

    Args:
        backbone: any.
        batch: padded or packed.

    Returns:
        *Shape:* (R, T, D)
    """
    hidden: Tensor = run_on(backbone.model, batch, backbone).last_hidden_state
    return hidden


def run_on(model: nn.Module, batch: Batch, backbone: Backbone) -> Any:
    """A model's output for a batch, in bf16 if `backbone.bf16`, with or without a trainer around it.

    Args:
        model: the backbone's own, or a language model around it.
        batch: padded or packed.
        backbone: whose form of mask and precision are used.
    """
    dtype = torch.bfloat16 if backbone.bf16 else next(backbone.parameters()).dtype
    inputs = attention_inputs(backbone, batch, dtype)
    with torch.autocast(batch.input_ids.device.type, dtype=torch.bfloat16, enabled=backbone.bf16):
        return model(input_ids=batch.input_ids, **inputs)


def _additive(seen: Tensor, config: Any, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores: zero where seen, the lowest number elsewhere. (R, 1, T, T)."""
    if config.is_causal:
        seen = seen.tril()
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill(~seen, torch.finfo(dtype).min).unsqueeze(1)


def has_windows(text: Any) -> bool:
    """Whether some layers of a text model see only what is near."""
    sliding = "sliding_attention" in (getattr(text, "layer_types", None) or ())
    return sliding or getattr(text, "sliding_window", None) is not None


def check_packing(backbone: Backbone) -> None:
    """Checks that a backbone can read several sentences from one row.

    Raises:
        UserError: its positions, windows or attention do not permit it, or it takes no mask of ours.
    """
    text = backbone.text_config
    if getattr(text, "rope_parameters", None) is None:
        raise UserError(f"data.batches.packing needs rotary positions, which {text.model_type} does not have")
    if has_windows(text):
        raise UserError(f"data.batches.packing does not go with the sliding windows of {text.model_type}")
    if text._attn_implementation not in IMPLEMENTATIONS:
        raise UserError(
            f"data.batches.packing needs model.runtime.attn_implementation {' or '.join(IMPLEMENTATIONS)}, "
            f"not {text._attn_implementation}"
        )


def hide_right_context(backbone: Backbone, below: int) -> None:
    """Makes the first layers of a bidirectional backbone causal, as they were in pre-training.

    Args:
        backbone: in place.
        below: how many layers.

    Raises:
        UserError: it has no more layers, or its attention takes no mask of our own.
    """
    implementation = backbone.text_config._attn_implementation
    if below >= len(backbone.layers):
        raise UserError(
            f"model.architecture.causal_below is {below}, and the backbone has {len(backbone.layers)} "
            "layers; set it below that, or model.attention to causal"
        )
    if below and implementation not in IMPLEMENTATIONS:
        raise UserError(
            "model.architecture.causal_below needs model.runtime.attn_implementation "
            f"{' or '.join(IMPLEMENTATIONS)}, not {implementation}"
        )
    for layer in backbone.layers[:below]:
        layer.register_forward_pre_hook(_without_right_context, with_kwargs=True)


def _without_right_context(
    layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Adds the causal mask to what a layer is called with; its first argument is the hidden states."""
    if "attention_mask" not in kwargs:
        raise UserError(
            f"model.architecture.causal_below does not go with the layers of this backbone ({type(layer)})"
        )
    hidden: Tensor = args[0] if args else kwargs["hidden_states"]
    mask: Tensor | None = kwargs["attention_mask"]
    right = torch.ones(hidden.shape[1], hidden.shape[1], dtype=torch.bool, device=hidden.device).triu(1)
    if mask is None:
        mask = torch.zeros_like(right, dtype=hidden.dtype)[None, None]
    if mask.dtype == torch.bool:
        return args, kwargs | {"attention_mask": mask & ~right}
    return args, kwargs | {"attention_mask": mask.masked_fill(right, torch.finfo(mask.dtype).min)}
