"""Loads a backbone's weights, and sets its attention: causal or bidirectional."""

import copy
import mmap
from functools import cache
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ner_lightning.data.gguf import forget, read_once
from ner_lightning.data.pretrained import Pretrained, load_errors_explained
from ner_lightning.errors import UserError
from ner_lightning.model.backbone import Attention, AttentionImplementation, Backbone
from ner_lightning.model.quantization import (
    Quantization,
    check_quantizable,
    keep_format,
    outline_quantized,
    quantized_loading,
)

ROPE = "rope_freqs.weight"  # Llama 3's divisors of RoPE's frequencies, in GGUF files


def quiet_loading() -> None:
    """Silences transformers' own progress bars and warnings, and bitsandbytes'; errors and downloads stay."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    downloads = not are_progress_bars_disabled()
    for name in ("autograd._functions", "backends.cpu.ops"):  # it computes in fp16; a package is not there
        getLogger(f"bitsandbytes.{name}").setLevel(ERROR)
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # the Hub's as well, so those are enabled again
    if downloads:
        enable_progress_bars()


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
    """Loads a backbone without any head.

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
    """
    from transformers import AutoModel

    options: dict[str, Any] = dict(pretrained.kwargs) | _attention(implementation, device_type, bf16)
    with read_once(pretrained.gguf_file is not None), load_errors_explained(pretrained):
        options |= _gguf_options(pretrained)
        options |= quantized_loading(quantization, pretrained, dtype, device_type)
        try:
            model: nn.Module = AutoModel.from_pretrained(
                pretrained.name, dtype=dtype, trust_remote_code=trust_remote_code, **options
            )
        except ImportError as error:
            if "flash" not in str(error).lower():
                raise
            raise UserError(
                f"model.runtime.attn_implementation {implementation}: its package is not installed; leave it "
                f"at auto ({str(error).partition('. ')[0]:.80})"
            ) from None
    forget()
    if getattr(model, "_hf_peft_config_loaded", False):  # whose weights the identity would not cover
        raise UserError(f"model.backbone: {pretrained.label} is an adapter; merge it into its model first")
    keep_format(model)
    return _without_head(model, attention, bf16, pretrained)


def outline_backbone(
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
    """What `load_backbone` loads with the same arguments, without its weights: tensors of the meta device.

    Only the configuration is read. Quantised layers are `OutlinedLinear`.
    """
    from transformers import AutoModel

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
    from transformers import AutoConfig

    with read_once(pretrained.gguf_file is not None), load_errors_explained(pretrained):
        config = AutoConfig.from_pretrained(
            pretrained.name, trust_remote_code=trust_remote_code, **pretrained.kwargs
        )
    forget()
    return config


def _without_head(model: nn.Module, attention: Attention, bf16: bool, pretrained: Pretrained) -> Backbone:
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
        options |= _attention(implementation, device_type, bf16) | _gguf_options(pretrained)
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


def _gguf_options(pretrained: Pretrained) -> dict[str, Any]:
    """What `from_pretrained` must be told to read a GGUF file right; nothing for other files."""
    if pretrained.gguf_file is None:
        return {}
    from transformers import GgufConfig

    # Without dequantisation the weights stay packed: nothing could be trained or saved.
    packed = {"quantization_config": GgufConfig(dequantize=True)}
    return packed | _llama3_rope(Path(pretrained.name), pretrained.gguf_file)


def _llama3_rope(folder: Path, file: str) -> dict[str, Any]:
    """Restores Llama 3's stretched RoPE, which transformers loses when it reads a GGUF file.

    The file keeps the per-frequency divisors as a tensor; their maximum is the scaling factor. The
    other three numbers are the same for every Llama 3.1, 3.2 and 3.3.
    """
    with (
        (folder / file).open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        if content.find(ROPE.encode()) < 0:  # the reader below takes seconds for the vocabulary alone
            return {}
    import gguf

    tensors = gguf.GGUFReader(folder / file).tensors
    divisors = [tensor for tensor in tensors if tensor.name == ROPE]
    if not divisors:
        return {}
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, gguf_file=file, trust_remote_code=False)
    config.rope_parameters = {
        "rope_type": "llama3",
        "rope_theta": config.rope_parameters["rope_theta"],
        "factor": float(divisors[0].data.max()),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    return {"config": config}
