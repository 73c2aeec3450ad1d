"""Activation checkpointing: layers whose activations the backward pass computes again."""

from collections.abc import Iterable
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_activations(layers: Iterable[nn.Module]) -> None:
    """Recomputes each layer's activations in the backward pass instead of keeping them, in any mode.

    Values and gradients are the same. It comes after what gives layers a forward of their own, and before
    they are compiled. transformers' own way does nothing in evaluation mode, in which its dropout is off.

    Args:
        layers: of a backbone, in place.
    """
    each: Any
    for each in layers:
        each.whole = each.forward
        each.forward = MethodType(_recomputed, each)


def _recomputed(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """A layer's forward pass, which the backward pass runs again."""
    if not torch.is_grad_enabled():
        return layer.whole(*args, **kwargs)
    return checkpoint(layer.whole, *args, use_reentrant=False, **kwargs)
