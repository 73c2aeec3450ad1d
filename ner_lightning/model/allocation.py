"""Counts memory without computing: tensors without values, and the bytes of those that exist at a time."""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ner_lightning.data.batching import Batch

# What autocast computes in fp32 on CUDA, of what backbones use; on a CPU it leaves their type alone.
_IN_FP32 = (nn.functional.layer_norm, nn.functional.softmax, torch.softmax, Tensor.softmax)


class BatchShape(NamedTuple):
    """Rows of a batch, and sub-tokens in each; packed, they are one long row."""

    rows: int
    length: int
    packed: bool = False


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, counts the bytes of tensors that exist, each storage once.

    Args:
        apart: tensors that are not counted: weights, and what exists already.

    Attributes:
        now: bytes of all tensors that were made within it and still exist.
        peak: the most so far; may be set.
    """

    def __init__(self, apart: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._apart = [tensor.untyped_storage() for tensor in apart]  # kept, so that no address is used again
        self._known: dict[int, Any] = {storage._cdata: None for storage in self._apart}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def freed(_: Any) -> None:
            self.now -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)


class LikeCuda(TorchFunctionMode):
    """Within it, tensors without values on a CPU take as much memory as on CUDA.

    On CUDA dropout keeps a byte for each value, attention has dropout in its kernel, and autocast computes
    some functions in fp32.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is nn.functional.dropout:
            rate, training = given.get("p", 0.5), given.get("training", True)
            return torch.ops.aten.native_dropout(args[0], rate, True)[0] if training and rate else args[0]
        if func is nn.functional.scaled_dot_product_attention:
            given["dropout_p"] = 0.0
        elif func in _IN_FP32 and torch.is_autocast_enabled("cpu"):
            args = [args[0].float() if args[0].dtype == torch.bfloat16 else args[0], *args[1:]]
        return func(*args, **given)


def without_values(module: nn.Module, mode: FakeTensorMode) -> None:
    """Gives a module on the meta device tensors of the CPU that have no values, in place.

    Args:
        module: any.
        mode: within which its tensors will be used.
    """
    made: dict[int, nn.Parameter] = {}  # tied weights stay tied
    with mode:
        for part in module.modules():
            for name, weight in part._parameters.items():
                if weight is not None and id(weight) not in made:
                    empty = torch.empty(weight.shape, dtype=weight.dtype)
                    made[id(weight)] = nn.Parameter(empty, requires_grad=weight.requires_grad)
                if weight is not None:
                    part._parameters[name] = made[id(weight)]
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def batch_without_values(shape: BatchShape) -> Batch:
    """A batch of a shape, every sub-token a word; to be called where tensors have no values."""
    rows, length = (1, shape.rows * shape.length) if shape.packed else (shape.rows, shape.length)
    ids = torch.zeros(rows, length, dtype=torch.long)
    index = torch.zeros(shape.rows, shape.length, dtype=torch.long)
    positions = torch.arange(length).remainder(shape.length).unsqueeze(0) if shape.packed else None
    words = torch.ones(index.shape, dtype=torch.bool)
    real = torch.ones(ids.shape, dtype=torch.bool)
    return Batch(ids, real, index, index, words, index, index[:, 0], positions)
