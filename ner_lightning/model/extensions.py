"""What a project adds to the model from outside the package: a prepared backbone, a part of the loss."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from ner_lightning.errors import UserError

# What is logged under train/ beside the parts of the loss.
LOGGED = ("loss", "grad_norm", "padding", "words_per_second", "subtokens_per_second", "peak_memory_gib")


class Preparation(ABC):
    """Changes a backbone after it is loaded, before anything of it is frozen or adapted.

    It is part of the function that a tagger computes, so a checkpoint names it and prediction does it again.
    What it does must follow from its arguments alone, which `vars` must show.
    """

    @abstractmethod
    def __call__(self, backbone: nn.Module) -> nn.Module:
        """Changes a transformers model without a head, in place or into another one."""

    def __repr__(self) -> str:
        """Its class and arguments: with the weights they say which backbone it is."""
        kind = type(self)
        arguments = ", ".join(f"{name}={value!r}" for name, value in sorted(vars(self).items()))
        return f"{kind.__module__}.{kind.__qualname__}({arguments})"


class LossPart(ABC):
    """A part of the loss beside `ce`, `crf` and `ls`, logged as `train/NAME`.

    It also counts in `val/loss` and `test/loss` of the run, but is no part of an export or an ensemble.

    Attributes:
        weight: what it counts in the sum; 0 leaves it out.
    """

    weight: float = 1.0

    @property
    def name(self) -> str:
        """Its name in the log: that of the class in lower case."""
        return type(self).__name__.lower()

    @abstractmethod
    def __call__(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """The loss, summed over real words: it is divided by their number later.

        Args:
            emissions: in fp32. *Shape:* (B, W, C)
            tags: gold tag ids, 0 on padding and where they are unknown. *Shape:* (B, W)
            mask: true on real words whose tag is known. *Shape:* (B, W)
        """


def preparation(given: Preparation | Mapping[str, Any] | None, *, trust: bool = False) -> Preparation | None:
    """A preparation from the `class_path` and `init_args` of a checkpoint or an exported folder.

    Args:
        given: those values; what is a preparation already is returned as it is.
        trust: import what they name.

    Raises:
        UserError: it is not trusted, does not exist, or is not a `Preparation`.
    """
    return None if given is None else made(given, Preparation, "model.architecture.prepare", trust)


def loss_parts(
    given: Sequence[LossPart | Mapping[str, Any]] | None, *, trust: bool = False
) -> list[LossPart] | None:
    """Parts of the loss, each from `class_path` and `init_args`; see `preparation`.

    Raises:
        UserError: one is not trusted, does not exist, or is not a `LossPart`.
    """
    return None if given is None else [made(one, LossPart, "model.loss.parts", trust) for one in given]


def prepared(model: nn.Module, preparation: Preparation) -> nn.Module:
    """A model as a preparation returns it.

    Raises:
        UserError: it returns no model.
    """
    changed: Any = preparation(model)
    if not isinstance(changed, nn.Module):
        raise UserError(f"{type(preparation).__name__} returned {changed!r:.60}; it must return the backbone")
    return changed


def loss_of(part: LossPart, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
    """What a part of the loss is; arguments as of `LossPart`.

    Raises:
        UserError: it is no single number in a tensor.
    """
    loss: Any = part(emissions, tags, mask)
    if not isinstance(loss, Tensor) or loss.ndim:
        what = f"a tensor of the shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{loss!r:.60}"
        raise UserError(
            f"{type(part).__name__} returned {what}; it must return its sum, a tensor of no dimension"
        )
    return loss


def made(given: Any, kind: type, key: str, trust: bool) -> Any:
    """An object of a project's own class, given as one or as `class_path` and `init_args`.

    Args:
        given: it.
        kind: the class that its class inherits from.
        key: the setting, for messages.
        trust: import what it names.

    Raises:
        UserError: it is not trusted, does not exist, or is not of that kind.
    """
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping) or "class_path" not in given:
        raise UserError(
            f"{key} is {given!r:.80}; it must be a {kind.__name__}, or its class_path and init_args"
        )
    path = str(given["class_path"])
    if not trust:
        raise UserError(
            f"{key} is {path}, code that does not come with ner-lightning.\n"
            "If you trust its author: --trust_remote_code, in Python trust_remote_code=True;\n"
            'for NERModule and its load_from_checkpoint runtime={"trust_remote_code": True}'
        )
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise UserError(
            f"{key}: there is no {path}; put its folder where Python looks: "
            "PYTHONPATH=FOLDER ner-lightning ..."
        ) from None
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise UserError(f"{key}: {path} is not a subclass of {kind.__module__}.{kind.__qualname__}")
    return found(**(given.get("init_args") or {}))


def check_names(parts: Sequence[LossPart], ours: Sequence[str]) -> None:
    """Checks the names of a project's parts of the loss.

    Args:
        parts: those parts.
        ours: the names of the package's own weights.

    Raises:
        UserError: two of them, or one and one of ours, have the same name.
    """
    names = [*LOGGED, *ours, *(part.name for part in parts)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"model.loss.parts: there are two parts named {twice}; give the class another name")
