"""What is trained of a backbone: LoRA adapters, whole layers on top, or all of it."""

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ner_lightning.errors import UserError
from ner_lightning.model.backbone import Backbone
from ner_lightning.system.plain_settings import fixed
from ner_lightning.system.ranges import BelowOne, PositiveFloat, PositiveInt, check_arguments


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
        top: adapters on this many of the last layers only; null puts them on all, and on projections before
            and after these.
    """

    rank: PositiveInt = fixed("weights", 16)
    alpha: PositiveFloat = fixed("weights", 32.0)
    dropout: BelowOne = 0.0
    targets: str | list[str] = fixed("weights", "all-linear")
    rslora: bool = fixed("weights", False)
    dora: bool = fixed("weights", False)
    top: PositiveInt | None = fixed("weights", None)

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "model.lora.")


def adapt(backbone: Backbone, *, freeze: bool, lora: Lora | None, unfreeze_top: int = 0) -> None:
    """Decides what of a backbone is trained.

    Trained parameters are kept in fp32, whatever the precision of the others.

    Args:
        backbone: from `load_backbone`, changed in place; PEFT wraps its model if there are adapters.
        freeze: leave the backbone's own weights as they are.
        lora: adapters to add, None for none.
        unfreeze_top: train this many of the last layers whole, and what follows them (a norm, in most).

    Raises:
        UserError: there are fewer layers than `unfreeze_top` or `lora.top`, none is left for adapters, or no
            layer has a name in `lora.targets`.
    """
    layers = backbone.layers
    _check_layers(len(layers), lora, unfreeze_top)
    if freeze:
        backbone.requires_grad_(False)
    if lora is not None:
        add_adapter(backbone, lora, unfreeze_top)
        if not freeze:
            backbone.requires_grad_(True)
    if unfreeze_top:
        for module in (*layers[len(layers) - unfreeze_top :], *backbone.final_norm):
            module.requires_grad_(True)
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _check_layers(layers: int, lora: Lora | None, unfreeze_top: int) -> None:
    if not 0 <= unfreeze_top <= layers:
        raise UserError(
            f"model.architecture.unfreeze_top is {unfreeze_top}; the backbone has {layers} layers"
        )
    if lora is None:
        return
    if lora.top is not None and lora.top > layers:
        raise UserError(f"model.lora.top is {lora.top}; the backbone has {layers} layers")
    if (lora.top or layers) <= unfreeze_top:
        top = "" if lora.top is None else f"model.lora.top is {lora.top}, and "
        raise UserError(
            f"{top}model.architecture.unfreeze_top trains the last {unfreeze_top} layers whole: none is left "
            "for adapters.\n"
            f"Set model.peft none, or a {'larger model.lora.top' if top else 'smaller unfreeze_top'}"
        )


def merge_adapters(backbone: Backbone) -> None:
    """Folds adapters into the weights that they adapt, in place; without adapters nothing changes.

    Do it in fp32: in bf16 most of an adapter's small numbers would be rounded away.
    """
    model: Any = backbone.model
    if not hasattr(model, "merge_and_unload"):
        return
    adapted = [module for module in model.modules() if hasattr(module, "lora_A")]
    if not all(map(_is_plain, adapted)):
        backbone.model = model.merge_and_unload()
        return
    with torch.no_grad():
        for layer in adapted:  # in place: PEFT's sums take twice as long
            for name in layer.active_adapters:
                down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
                layer.base_layer.weight.addmm_(up, down, alpha=layer.scaling[name])
    backbone.model = model.unload()


def _is_plain(layer: Any) -> bool:
    """Whether what an adapter adds to a layer's weight in fp32 is the product of its matrices, scaled."""
    base, known = layer.base_layer, set(layer.active_adapters) <= set(layer.lora_A)
    biases = any(getattr(layer, "lora_bias", {}).values())
    plain = type(base) is nn.Linear and base.weight.dtype == torch.float32
    return plain and known and not (layer.merged or layer.lora_variant or layer.fan_in_fan_out or biases)


def scale_of(lora: Lora) -> float:
    """What PEFT multiplies the product of an adapter's matrices by."""
    return lora.alpha / (lora.rank**0.5 if lora.rslora else lora.rank)


@contextmanager
def keeping_trained(backbone: Backbone) -> Iterator[None]:
    """After it all parameters are trained that were before: PEFT trains the active adapters alone."""
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    yield
    for parameter in trained:
        parameter.requires_grad_(True)


def add_adapter(backbone: Backbone, lora: Lora, spared: int = 0, name: str = "default") -> None:
    """Adds adapters to the last `lora.top` layers.

    Args:
        backbone: changed in place; it may have other adapters.
        lora: their settings.
        spared: layers at the very top that get none.
        name: PEFT's name for them.

    Raises:
        UserError: PEFT cannot adapt this backbone, or no layer has a name in `lora.targets`.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    peft_model: Any = getattr(backbone.model, "peft_config", None) and backbone.model
    base = peft_model.get_base_model() if peft_model else backbone.model
    targets = _targets(base, lora.targets)
    config = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        # Of all names a pattern: PEFT takes one of a list for the end of others, too.
        exclude_modules="|".join(map(re.escape, _left_out(base, backbone.layers, lora.top, spared))) or None,
    )
    try:
        with warnings.catch_warnings():  # PEFT asks transformers by a name that it has deprecated
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            # It then sets it itself.
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
            if peft_model:
                peft_model.add_adapter(name, config)
            else:
                backbone.model = get_peft_model(base, config, adapter_name=name)
    except ValueError as error:
        raise _explained(error, base, lora) from None
    for module in backbone.model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            # PEFT would copy every adapter's input to fp32, only for autocast to cast it back.
            adapter: Any = module
            adapter.cast_input_dtype_enabled = False


def _targets(model: nn.Module, targets: str | list[str]) -> str | list[str]:
    """The names of the layers that get an adapter, as PEFT takes them.

    Raises:
        UserError: one is no layer's, which PEFT passes over where another one is.
    """
    if targets == "all-linear":
        return targets
    if isinstance(targets, str) and not targets.isidentifier():
        return targets  # a regular expression
    named = [targets] if isinstance(targets, str) else targets
    known = [name for name, _ in model.named_modules()]
    for target in named:
        if not any(f".{name}".endswith(f".{target}") for name in known):
            raise _unknown_target(target, model)
    return named


def _unknown_target(target: Any, model: nn.Module) -> UserError:
    kinds = _linear_kinds()
    linear = {n.split(".")[-1] for n, m in model.named_modules() if isinstance(m, kinds)}
    return UserError(
        f"model.lora.targets: no layer is named {target}; this backbone has {', '.join(sorted(linear))}"
    )


def _explained(error: ValueError, model: nn.Module, lora: Lora) -> UserError:
    """Why PEFT cannot adapt a model."""
    if "excluded" in str(error):
        return UserError(
            f"model.lora.targets: no layer named {lora.targets} is among those that may have adapters, by "
            "model.lora.top and model.architecture.unfreeze_top"
        )
    if "not found in the base model" not in str(error):
        reason = str(error).partition("\n")[0]
        return UserError(f"model.lora: PEFT cannot adapt {type(model).__name__}: {reason}")
    return _unknown_target(lora.targets, model)


def _left_out(model: nn.Module, layers: nn.ModuleList, top: int | None, spared: int) -> list[str]:
    """Names of the linear layers without adapters: of those at the top, and with `top` of all but the last.

    Projections between the embeddings and the layers, or above these, belong to none.
    """
    depth = len(layers)
    without = set(_linear_names(model, layers[depth - spared :]))
    if top is not None:
        without |= set(_linear_names(model, [model])) - set(_linear_names(model, layers[depth - top :]))
    return sorted(without)


def _linear_names(model: nn.Module, layers: Iterable[nn.Module]) -> list[str]:
    """Names of the linear layers inside some modules, as they were before any adapter."""
    inside, kinds = {id(part) for layer in layers for part in layer.modules()}, _linear_kinds()
    return [
        name.removesuffix(".base_layer")
        for name, module in model.named_modules()
        if isinstance(module, kinds) and id(module) in inside and ".lora_" not in name
    ]


def _linear_kinds() -> tuple[type[nn.Module], ...]:
    """The classes of linear layers: torch's, and that of GPT-2, whose weight is transposed."""
    from transformers.pytorch_utils import Conv1D

    return nn.Linear, Conv1D
