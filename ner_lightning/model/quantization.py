"""Quantised backbones: frozen weights in 4 or 8 bits, which bitsandbytes reads and multiplies."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.errors import UserError

# nf4: 4 bits with double quantisation (Dettmers et al. 2023). int8: 8 bits, and fp16 for columns of outliers
# (Dettmers et al. 2022).
Quantization = Literal["none", "nf4", "int8"]


def quantized_loading(
    quantization: Quantization, pretrained: Pretrained, dtype: torch.dtype, device_type: str
) -> dict[str, Any]:
    """What `from_pretrained` must be told to quantise the linear layers while it reads them.

    Args:
        quantization: how.
        pretrained: where the weights are.
        dtype: of products and of all other weights.
        device_type: `cpu` or `cuda`; a GPU gets each layer as it is read, so that no other memory has to hold
            them all.

    Raises:
        UserError: bitsandbytes is not installed, or the weights are in a GGUF file.
    """
    if quantization == "none":
        return {}
    if pretrained.gguf_file is not None:
        raise UserError(
            f"model.quantization is {quantization}, but {pretrained.label} is a GGUF file, whose weights are "
            "read as bf16;\nname the model's folder or Hub id, or set model.quantization none"
        )
    check_bitsandbytes(f"model.quantization {quantization}")
    from transformers import BitsAndBytesConfig

    if quantization == "nf4":
        how: dict[str, Any] = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": dtype,
        }
    else:
        how = {"load_in_8bit": True}
    options: dict[str, Any] = {"quantization_config": BitsAndBytesConfig(**how)}
    if device_type == "cuda":
        options["device_map"] = {"": torch.cuda.current_device()}
    return options


def check_bitsandbytes(setting: str) -> None:
    """Raises UserError if bitsandbytes is not installed, which a setting needs."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f"{setting} needs bitsandbytes: pip install 'ner-lightning[quant]'")


def keep_format(model: nn.Module) -> None:
    """Keeps 4-bit weights in the format in which they can be trained around.

    On a CPU with bf16 instructions bitsandbytes packs a layer's weights anew when it first runs in evaluation
    mode, which the check of a backbone's attention does. It then multiplies in bf16, and in training no
    gradient passes through the layer.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def is_quantized(model: nn.Module) -> bool:
    """Whether a transformers model, with or without adapters, has quantised weights."""
    return bool(getattr(model, "is_quantized", False))


def dequantize(model: Any) -> nn.Module:
    """A quantised transformers model with the weights that it computes with, in fp32."""
    return model.dequantize(dtype=torch.float32)  # type: ignore[no-any-return]


@contextmanager
def without_outliers(model: nn.Module) -> Iterator[None]:
    """Within it int8 layers make no exception of columns with outliers.

    Which columns those are depends on all sub-tokens of a batch, so that other sentences change a result.
    """
    states: list[Any] = [m.state for m in model.modules() if hasattr(getattr(m, "state", None), "threshold")]
    thresholds = [state.threshold for state in states]
    for state in states:
        state.threshold = 0.0
    try:
        yield
    finally:
        for state, threshold in zip(states, thresholds, strict=True):
            state.threshold = threshold
