"""Loads a backbone's weights, and sets its attention: causal or bidirectional."""

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

from ner_lightning.data.configuration import check_unquantized, configuration
from ner_lightning.data.gguf import forget, read_once
from ner_lightning.data.pretrained import Pretrained, load_errors_explained
from ner_lightning.errors import UserError
from ner_lightning.model.backbone import Attention, AttentionImplementation, Backbone
from ner_lightning.model.gguf_options import gguf_options
from ner_lightning.model.quantization import (
    Quantization,
    check_quantizable,
    keep_format,
    outline_quantized,
    quantized_loading,
)
from ner_lightning.model.text_model import is_multimodal, text_model


def load_backbone(
    pretrained: Pretrained,
    *,
    attention: Attention,
    dtype: torch.dtype,
    implementation: AttentionImplementation = "auto",
    bf16: bool = False,
    device_type: str = "cpu",
    trust_remote_code: bool = False,
    quantization: Quantization = "none",
) -> Backbone:
    """Loads a backbone without any head; of a multimodal model the text model alone.

    Args:
        pretrained: where it is.
        attention: the direction that is asked of it; `verify_attention` checks it.
        dtype: of its weights.
        implementation: of attention; `auto` takes what measured fastest for device and precision.
        bf16: it will be run in bf16, whatever the type of its weights.
        device_type: `cpu` or `cuda`, for that choice.
        trust_remote_code: run code that comes with the weights.
        quantization: of its linear layers.

    Returns:
        the backbone, all of its weights trained.

    Raises:
        UserError: it cannot be had, is already quantised, or has no text model that can be loaded alone.
    """
    from transformers import AutoModel

    check_unquantized(pretrained, trust_remote_code=trust_remote_code)
    text = text_model_name(pretrained, trust_remote_code=trust_remote_code)
    options: dict[str, Any] = dict(pretrained.kwargs) | _attention(implementation, device_type, bf16)
    options |= {"trust_remote_code": trust_remote_code, "output_loading_info": True}
    with read_once(pretrained.gguf_file is not None), load_errors_explained(pretrained):
        options |= gguf_options(pretrained)
        options |= quantized_loading(quantization, pretrained, dtype, device_type)
        with _missing_attention(implementation):
            model, info = AutoModel.from_pretrained(pretrained.name, dtype=dtype, **options)
    forget()
    if getattr(model, "_hf_peft_config_loaded", False):  # whose weights the identity would not cover
        raise UserError(f"model.backbone: {pretrained.label} is an adapter; merge it into its model first")
    _check_complete(info["missing_keys"], text, pretrained)
    keep_format(model)
    return _without_head(model, attention, bf16, pretrained)


def _check_complete(missing: Collection[str], text: str, pretrained: Pretrained) -> None:
    """Raises UserError if weights that are used are in none of a backbone's files: they would be random."""
    unused = ("pooler.", "lm_head.")
    lacks = sorted(name for name in missing if name.startswith(text) and not name.startswith(unused))
    if lacks:
        raise UserError(
            f"model.backbone: the files of {pretrained.label} lack {len(lacks)} of its weights, such as "
            f"{lacks[0]}.\nDownload or save it again; a GGUF file needs gguf 0.18 or later"
        )


@contextmanager
def _missing_attention(implementation: AttentionImplementation) -> Iterator[None]:
    """Turns the absence of FlashAttention's package into a UserError."""
    try:
        yield
    except ImportError as error:
        if "flash" not in str(error).lower():
            raise
        raise UserError(
            f"model.runtime.attn_implementation {implementation}: its package is not installed; leave it "
            f"at auto ({str(error).partition('. ')[0]:.80})"
        ) from None


def text_model_name(pretrained: Pretrained, *, trust_remote_code: bool = False) -> str:
    """The name of the text model within a multimodal backbone, by its configuration; empty for others.

    Raises:
        UserError: transformers cannot load its text model alone.
    """
    if pretrained.gguf_file is not None:  # which holds a text model
        return ""
    config = configuration(pretrained, trust_remote_code=trust_remote_code)
    if not is_multimodal(config):
        return ""
    from transformers import AutoModel

    with load_errors_explained(pretrained), torch.device("meta"):
        model = AutoModel.from_config(config, trust_remote_code=trust_remote_code)
    return text_model(model, pretrained.label)[0]


def outline_backbone(
    pretrained: Pretrained,
    *,
    attention: Attention,
    dtype: torch.dtype,
    implementation: AttentionImplementation,
    bf16: bool,
    device_type: str,
    trust_remote_code: bool,
    quantization: Quantization,
) -> Backbone:
    """What `load_backbone` loads with the same arguments, without its weights: tensors of the meta device.

    Only the configuration is read. Quantised layers are `OutlinedLinear`.
    """
    from transformers import AutoModel

    check_unquantized(pretrained, trust_remote_code=trust_remote_code)
    check_quantizable(quantization, pretrained)
    chosen = _attention(implementation, device_type, bf16)
    if implementation not in ("auto", "eager"):  # kernels that may not be installed, and keep as little
        chosen = {"attn_implementation": "sdpa"}
    config = copy.deepcopy(_configuration(pretrained, trust_remote_code))
    with load_errors_explained(pretrained), torch.device("meta"):
        model = AutoModel.from_config(config, dtype=dtype, trust_remote_code=trust_remote_code, **chosen)
    outline_quantized(model, quantization)
    return _without_head(model.eval(), attention, bf16, pretrained)


@cache
def _configuration(pretrained: Pretrained, trust_remote_code: bool) -> Any:
    config = configuration(pretrained, trust_remote_code=trust_remote_code)
    forget()
    return config


def _without_head(whole: nn.Module, attention: Attention, bf16: bool, pretrained: Pretrained) -> Backbone:
    _, model = text_model(whole, pretrained.label)
    config: Any = model.config
    config.use_cache = False
    config.is_causal = attention == "causal"
    if getattr(model, "pooler", None) is not None:
        # BERT's sentence vector: never used here, and DDP refuses parameters without gradients.
        model._modules["pooler"] = None
    return Backbone(model, bf16=bf16, pretrained=pretrained)


def load_language_model(
    pretrained: Pretrained,
    *,
    dtype: torch.dtype,
    purpose: str,
    implementation: AttentionImplementation = "auto",
    bf16: bool = False,
    device_type: str = "cpu",
    trust_remote_code: bool = False,
) -> Any:
    """Loads a backbone with its language-model head.

    Args:
        pretrained: where it is.
        dtype: of its weights.
        purpose: what it is loaded for, to say what cannot be done: it cannot `be prompted`.
        implementation: as at `load_backbone`.
        bf16: it will be run in bf16, whatever the type of its weights.
        device_type: `cpu` or `cuda`, where it will run.
        trust_remote_code: run code that comes with the weights.

    Returns:
        a transformers model whose output has `logits`.

    Raises:
        UserError: it is an encoder, or its files hold no language-model head.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, AutoModelForCausalLM

    options = dict(pretrained.kwargs) | {"trust_remote_code": trust_remote_code}
    with read_once(pretrained.gguf_file is not None), load_errors_explained(pretrained):
        config = AutoConfig.from_pretrained(pretrained.name, **options)
        if type(config) in MODEL_FOR_MASKED_LM_MAPPING:
            raise UserError(f"model.backbone: {pretrained.label} is an encoder, so it cannot {purpose}")
        options |= _attention(implementation, device_type, bf16) | gguf_options(pretrained)
        model, info = AutoModelForCausalLM.from_pretrained(
            pretrained.name, dtype=dtype, output_loading_info=True, **options
        )
    forget()
    if info["missing_keys"]:
        raise UserError(
            f"model.backbone: {pretrained.label} comes without its language-model head, "
            f"so it cannot {purpose}"
        )
    return model


def _attention(implementation: AttentionImplementation, device_type: str, bf16: bool) -> dict[str, Any]:
    if implementation != "auto":
        return {"attn_implementation": implementation}
    # Eager trains 1.5 times as fast as SDPA there.
    return {"attn_implementation": "eager"} if device_type == "cpu" and bf16 else {}
