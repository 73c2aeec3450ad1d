"""What of a backbone is trained: frozen weights, adapters, whole layers on top."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ner_lightning.errors import UserError
from ner_lightning.model.backbone import find_layers
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
        top: adapters on this many of the last layers only; null puts them on all.
    """

    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    dropout: BelowOne = 0.0
    targets: str | list[str] = field(default="all-linear")
    rslora: bool = False
    dora: bool = False
    top: PositiveInt | None = None

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "model.lora.")


def adapt(model: nn.Module, *, freeze: bool, lora: Lora | None, unfreeze_top: int = 0) -> nn.Module:
    """Decides what of a backbone is trained.

    Trained parameters are kept in fp32, whatever the precision of the others.

    Args:
        model: from `load_backbone`.
        freeze: leave the backbone's own weights as they are.
        lora: adapters to add, None for none.
        unfreeze_top: train this many of the last layers whole, and what follows them (a norm, in most).

    Returns:
        the model, wrapped by PEFT if there are adapters.

    Raises:
        UserError: there are fewer layers than `unfreeze_top` or `lora.top`, or no layer of a name in
            `lora.targets`.
    """
    layers = find_layers(model)
    if lora is not None and (lora.top or 0) > len(layers):
        raise UserError(f"model.lora.top is {lora.top}; the backbone has {len(layers)} layers")
    if not 0 <= unfreeze_top <= len(layers):
        raise UserError(f"model.unfreeze_top is {unfreeze_top}; the backbone has {len(layers)} layers")
    if freeze:
        model.requires_grad_(False)
    whole = list(layers[len(layers) - unfreeze_top :])
    if lora is not None and unfreeze_top < len(layers):
        model = _with_adapters(model, lora, unfreeze_top)
        if not freeze:
            model.requires_grad_(True)
    if whole:
        for module in (*whole, *above_layers(model)):
            module.requires_grad_(True)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def frozen_layers(model: nn.Module) -> int:
    """How many layers at the bottom stay as they are in training, together with all below them."""
    layers = find_layers(model)
    still = [not any(p.requires_grad for p in layer.parameters()) for layer in layers]
    depth = still.index(False) if False in still else len(layers)
    inside = {id(p) for part in (*layers, *above_layers(model)) for p in part.parameters()}
    if any(p.requires_grad and id(p) not in inside for p in model.parameters()):
        return 0  # embeddings, or a projection between them and the layers
    return depth


@contextmanager
def find_above_layers(model: nn.Module) -> Iterator[None]:
    """Within it the backbone is run once, whole: what of it runs after its last layer is noted in it.

    Whether a norm stands above the layers, below them or beside them does not show in its name or place.
    """
    layers = find_layers(model)
    stack = {id(part) for part in layers.modules()}
    own = [
        m for m in model.modules() if id(m) not in stack and any(True for _ in m.parameters(recurse=False))
    ]
    called: dict[nn.Module, None] = {}  # in order, once each
    hooks = [
        module.register_forward_pre_hook(lambda module, _given: called.update({module: None}))
        for module in own
    ]
    if len(layers):
        hooks.append(layers[-1].register_forward_hook(lambda _layer, _given, _output: called.clear()))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    kept: Any = model
    kept.above_layers = tuple(called)


def above_layers(model: nn.Module) -> tuple[nn.Module, ...]:
    """What runs after a backbone's last layer, as `find_above_layers` has found it: a norm, or nothing."""
    found: tuple[nn.Module, ...] = getattr(model, "above_layers", ())
    return found


def merge_adapters(model: nn.Module) -> nn.Module:
    """Folds adapters into the weights that they adapt; a model without adapters stays as it is.

    Do it in fp32: in bf16 most of an adapter's small numbers would be rounded away.
    """
    merge: Any = getattr(model, "merge_and_unload", None)
    merged: nn.Module = model if merge is None else merge()
    return merged


def _with_adapters(model: nn.Module, lora: Lora, spared: int) -> nn.Module:
    """Adapters on the last `lora.top` layers, but for `spared` at the very top."""
    from peft import LoraConfig, TaskType, get_peft_model

    layers = find_layers(model)
    below = layers[: len(layers) - (len(layers) if lora.top is None else lora.top)]
    whole = [*below, *layers[len(layers) - spared :]]
    config = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        exclude_modules=_linear_names(model, whole) or None,
    )
    try:
        with warnings.catch_warnings():  # PEFT asks transformers by a name that it has deprecated
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            warnings.filterwarnings(
                "ignore", message="fan_in_fan_out is set to False"
            )  # it then sets it itself
            adapted: nn.Module = get_peft_model(model, config)
    except ValueError as error:
        if "not found in the base model" not in str(error):
            reason = str(error).partition("\n")[0]
            raise UserError(f"model.lora: PEFT cannot adapt {type(model).__name__}: {reason}") from None
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


def _linear_names(model: nn.Module, layers: Sequence[nn.Module]) -> list[str]:
    """Names of the linear layers inside some transformer layers."""
    inside = {id(part) for layer in layers for part in layer.modules()}
    return [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and id(m) in inside]
