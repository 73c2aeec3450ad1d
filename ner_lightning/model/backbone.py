"""Any Hugging Face backbone: load it, set its attention, freeze it, give it adapters."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ner_lightning.data.pretrained import Pretrained
from ner_lightning.errors import UserError

Attention = Literal["causal", "bidirectional"]
AttentionImplementation = Literal["auto", "eager", "sdpa", "flash_attention_2", "flex_attention"]


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021), as PEFT builds them.

    Args:
        rank: of each adapter.
        alpha: adapters are scaled by alpha / rank, or by alpha / sqrt(rank) with rsLoRA.
        dropout: on each adapter's input while training.
        targets: names of the linear layers that get an adapter, or `all-linear`.
        rslora: rank-stabilised scaling (Kalajdzievski 2023).
        dora: weight-decomposed adapters (Liu et al. 2024); slower.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str | list[str] = field(default="all-linear")
    rslora: bool = False
    dora: bool = False


def load_backbone(
    pretrained: Pretrained,
    *,
    attention: Attention,
    dtype: torch.dtype,
    implementation: AttentionImplementation = "auto",
    device_type: str = "cpu",
    trust_remote_code: bool = False,
) -> nn.Module:
    """Loads a backbone without any head.

    Args:
        pretrained: where it is.
        attention: the direction that is asked of it; `verify_attention` proves it.
        dtype: of its weights.
        implementation: of attention; `auto` takes what measured fastest for device and dtype.
        device_type: `cpu` or `cuda`, for that choice.
        trust_remote_code: run code that comes with the weights.

    Returns:
        a transformers model whose output has `last_hidden_state`. *Shape:* (R, T, D)
    """
    from transformers import AutoModel, GgufConfig

    options: dict[str, Any] = dict(pretrained.kwargs)
    if pretrained.gguf_file is not None:
        # Without dequantisation the weights stay packed: nothing could be trained or saved.
        options["quantization_config"] = GgufConfig(dequantize=True)
        options |= _llama3_rope(Path(pretrained.name), pretrained.gguf_file)
    if implementation == "auto" and device_type == "cpu" and dtype == torch.bfloat16:
        options["attn_implementation"] = "eager"  # trains 1.5 times as fast as SDPA there
    elif implementation != "auto":
        options["attn_implementation"] = implementation
    model: nn.Module = AutoModel.from_pretrained(
        pretrained.name, dtype=dtype, trust_remote_code=trust_remote_code, **options
    )
    config: Any = model.config
    config.use_cache = False
    config.is_causal = attention == "causal"
    if getattr(model, "pooler", None) is not None:
        model._modules["pooler"] = (
            None  # BERT's sentence vector: never used here, and DDP minds idle parameters
        )
    return model


def adapt(model: nn.Module, *, freeze: bool, lora: Lora | None, unfreeze_top: int = 0) -> nn.Module:
    """Decides what of a backbone is trained.

    Trained parameters are kept in fp32, whatever the precision of the others.

    Args:
        model: from `load_backbone`.
        freeze: leave the backbone's own weights as they are.
        lora: adapters to add, None for none.
        unfreeze_top: train this many of the last layers whole, and the norm above them.

    Returns:
        the model, wrapped by PEFT if there are adapters.

    Raises:
        UserError: there are fewer layers than `unfreeze_top`, or no layer of a name in `lora.targets`.
    """
    layers = find_layers(model)
    if not 0 <= unfreeze_top <= len(layers):
        raise UserError(f"model.unfreeze_top is {unfreeze_top}; the backbone has {len(layers)} layers")
    if freeze:
        model.requires_grad_(False)
    whole = list(layers[len(layers) - unfreeze_top :])
    if lora is not None and unfreeze_top < len(layers):
        model = _with_adapters(model, lora, len(layers) - unfreeze_top)
        if not freeze:
            model.requires_grad_(True)
    if whole:
        norms = [m for name, m in model.named_modules() if name.split(".")[-1] in {"norm", "ln_f"}]
        for module in (*whole, *norms):
            module.requires_grad_(True)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def find_layers(model: nn.Module) -> Sequence[nn.Module]:
    """The stack of transformer layers: the longest list of modules in the model."""
    stacks = [list(m) for m in model.modules() if isinstance(m, nn.ModuleList)]
    return max(stacks, key=len, default=[])


def identity(pretrained: Pretrained) -> str:
    """A word for the exact weights: the Hub's commit, or a digest of the local files."""
    if pretrained.on_hub:
        return f"commit:{pretrained.kwargs['revision']}"
    folder = Path(pretrained.name)
    if pretrained.gguf_file is not None:
        files = [folder / pretrained.gguf_file]
    else:
        files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def compile_layers(model: nn.Module) -> None:
    """Compiles each transformer layer by itself: one compilation serves them all, for any length."""
    for layer in find_layers(model):
        layer.compile(dynamic=True)


def checkpoint_activations(model: nn.Module) -> None:
    """Recomputes activations in the backward pass instead of keeping them."""
    enable: Any = getattr(model, "activation_checkpointing_enable", None)
    if enable is not None:
        enable(activation_checkpointing_kwargs={"use_reentrant": False})
    else:  # transformers before 5.20
        enable = getattr(model, "gradient_checkpointing_enable", None)
        assert enable is not None, "every transformers model can checkpoint"
        enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def _with_adapters(model: nn.Module, lora: Lora, count: int) -> nn.Module:
    from peft import LoraConfig, TaskType, get_peft_model

    spared = len(find_layers(model)) - count
    config = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        exclude_modules=_within_top(model, spared) if spared else None,
    )
    try:
        with warnings.catch_warnings():  # PEFT asks transformers by a name that it has deprecated
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            adapted: nn.Module = get_peft_model(model, config)
    except ValueError as error:
        if "not found in the base model" not in str(error):
            raise
        linear = {n.split(".")[-1] for n, m in model.named_modules() if isinstance(m, nn.Linear)}
        raise UserError(
            f"model.lora.targets: no layer is named {lora.targets}; "
            f"this backbone has {', '.join(sorted(linear))}"
        ) from None
    for module in adapted.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            # PEFT would copy every adapter's input to fp32, only for autocast to cast it back.
            adapter: Any = module
            adapter.cast_input_dtype_enabled = False
    return adapted


def _within_top(model: nn.Module, count: int) -> list[str]:
    """Names of the linear layers inside the last `count` transformer layers."""
    whole = find_layers(model)[-count:]
    inside = {id(part) for layer in whole for part in layer.modules()}
    return [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and id(m) in inside]


def _llama3_rope(folder: Path, file: str) -> dict[str, Any]:
    """Restores Llama 3's stretched RoPE, which transformers loses when it reads a GGUF file.

    The file keeps the per-frequency divisors as a tensor; their maximum is the scaling factor. The
    other three numbers are the same for every Llama 3.1, 3.2 and 3.3.
    """
    import gguf

    tensors = gguf.GGUFReader(folder / file).tensors
    found = [tensor for tensor in tensors if tensor.name == "rope_freqs.weight"]
    if not found:
        return {}
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, gguf_file=file)
    config.rope_parameters = {
        "rope_type": "llama3",
        "rope_theta": config.rope_parameters["rope_theta"],
        "factor": float(found[0].data.max()),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    return {"config": config}
