"""Quantised backbones: frozen weights in 4 or 8 bits, which bitsandbytes reads and multiplies."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from logging import LogRecord, getLogger
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.errors import UserError

# nf4: 4 bits with double quantisation (Dettmers et al. 2023). int8: 8 bits, and fp16 for columns of outliers
# (Dettmers et al. 2022).
Quantization = Literal["none", "nf4", "int8"]
BLOCK, SCALE_BLOCK = 64, 256  # 4-bit weights with one scale, and scales with one scale of theirs


def quantized_loading(
    quantization: Quantization, pretrained: Pretrained, dtype: torch.dtype, device_type: str
) -> dict[str, Any]:
    """What `from_pretrained` must be told to quantise the linear layers while it reads them.

    Args:
        quantization: how.
        pretrained: where the weights are.
        dtype: of products and of all other weights.
        device_type: `cpu` or `cuda`; the current GPU gets each layer as it is read, so that no other memory
            has to hold them all.

    Raises:
        UserError: bitsandbytes is not installed, or the weights are in a GGUF file.
    """
    if quantization == "none":
        return {}
    check_quantizable(quantization, pretrained)
    check_bitsandbytes(f"model.quantization {quantization}")
    getLogger("bitsandbytes.autograd._functions").addFilter(_is_news)
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


def _is_news(record: LogRecord) -> bool:
    """Leaves out that int8 products are made of fp16, which each layer would log at each batch."""
    return not str(record.msg).startswith("MatMul8bitLt: inputs will be cast")


def check_bitsandbytes(setting: str) -> None:
    """Raises UserError if bitsandbytes is not installed, which a setting needs."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f"{setting} needs bitsandbytes: pip install 'ner-lightning[quant]'")


def check_quantizable(quantization: Quantization, pretrained: Pretrained) -> None:
    """Raises UserError if weights are to be quantised that are in a GGUF file."""
    if quantization != "none" and pretrained.gguf_file is not None:
        raise UserError(
            f"model.quantization is {quantization}, but {pretrained.label} is a GGUF file, whose weights are "
            "read as bf16;\nname the model's folder or Hub id, or set model.quantization none"
        )


def check_products(quantization: Quantization) -> None:
    """Checks that this CPU multiplies 8-bit numbers exactly.

    A CPU with AVX512 but without VNNI adds pairs of products in 16 bits, where large ones overflow.

    Raises:
        UserError: it does not.
    """
    if quantization != "int8":
        return
    rows, inner, columns, largest = 17, 64, 32, 127
    one = torch.full((rows, inner), largest, dtype=torch.int8)
    product = torch._int_mm(one, torch.full((inner, columns), largest, dtype=torch.int8))
    if not (product == inner * largest * largest).all():
        raise UserError(
            "model.quantization is int8, but 8-bit products overflow on this CPU, which lacks VNNI;\n"
            "use nf4 or none, a GPU, or a tagger exported as merged, whose weights are not in 8 bits"
        )


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


class OutlinedLinear(nn.Linear):
    """A quantised linear layer without weights, which allocates what bitsandbytes' own would.

    Args:
        inputs: size of the last dimension of its input.
        outputs: size of the last dimension of its result.
        bias: whether something is added.
        dtype: of products.
        quantization: nf4 or int8.
    """

    def __init__(
        self, inputs: int, outputs: int, bias: bool, dtype: torch.dtype, quantization: Quantization
    ) -> None:
        super().__init__(inputs, outputs, bias, dtype=dtype)
        self.quantization = quantization

    @property
    def weight_bytes(self) -> int:
        """Memory of the quantised weights and of their scales."""
        count = self.weight.numel()
        if self.quantization == "int8":
            return count + 4 * self.out_features  # a scale for each row
        blocks = -(-count // BLOCK)  # each with a scale of a byte
        tables = 4 * (16 + 256 + 1)  # the values of 4 bits, those of a scale, and the scales' mean
        return -(-count // 2) + blocks + 4 * -(-blocks // SCALE_BLOCK) + tables

    def forward(self, input: Tensor) -> Tensor:
        """Allocates the product and what is needed on the way to it. *Shape:* (..., outputs)."""
        dtype = input.dtype
        eight = self.quantization == "int8"
        given = input if eight else input.to(self.weight.dtype)
        result: Tensor = _OutlinedProduct.apply(given, self.weight, eight)  # type: ignore[no-untyped-call]
        if self.bias is not None:
            result = result + self.bias
        return result.to(dtype)


class _OutlinedProduct(torch.autograd.Function):
    """The product of a quantised layer; its weights stand for the dequantised ones, made each time."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, weight: Tensor, eight: bool) -> Tensor:
        # bitsandbytes keeps the input of an int8 layer, and nothing of a 4-bit one.
        ctx.save_for_backward(weight, given if eight else None)
        ctx.dtype = given.dtype
        if eight:
            rounded = given.to(torch.float16)
            codes = rounded.to(torch.int8)
            wide = codes.new_empty((*given.shape[:-1], len(weight)), dtype=torch.int32)
            return wide.to(given.dtype)
        return nn.functional.linear(given, weight.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        weight, _ = ctx.saved_tensors
        return gradients[0].to(ctx.dtype) @ weight.to(ctx.dtype, copy=True), None, None


def outline_quantized(model: Any, quantization: Quantization) -> None:
    """Replaces the linear layers that `from_pretrained` would quantise, in place; nothing is computed.

    Args:
        model: a transformers model on the meta device.
        quantization: how.
    """
    if quantization == "none":
        return
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert
    from transformers.quantizers.quantizers_utils import should_convert_module

    spared = [*get_keys_to_not_convert(model), *(model._keep_in_fp32_modules or ())]
    for name, module in list(model.named_modules()):
        convolution = isinstance(module, Conv1D)  # GPT-2's linear layers
        if (type(module) is nn.Linear or convolution) and should_convert_module(name, spared):
            inputs, outputs = module.weight.shape if convolution else module.weight.shape[::-1]
            bias, dtype = module.bias is not None, module.weight.dtype
            with torch.device("meta"):
                made = OutlinedLinear(inputs, outputs, bias, dtype, quantization)
            model.set_submodule(name, made)
