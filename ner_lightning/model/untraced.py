"""What torch.compile calls as it is, without tracing it, such as recursions in numpy."""

import sys
from typing import Any

import torch

_DISABLED: dict[Any, Any] = {}


def untraced(function: Any) -> Any:
    """The function, or what `torch.compile` calls in its place without tracing it.

    `torch.compiler.disable` as a decorator would import the compiler, which takes a second and more, even
    where nothing is compiled.
    """
    # The second holds, too, where the compiler left a caller as it is, but would trace what that calls.
    if not torch.compiler.is_compiling() and "torch._dynamo" not in sys.modules:
        return function
    if function not in _DISABLED:
        _DISABLED[function] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return _DISABLED[function]
