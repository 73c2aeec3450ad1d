"""Number types with a range, for the parser, constructors and the reference; checks of settings' values."""

import argparse
import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

from ner_lightning.errors import UserError


class RangeError(ValueError):
    """A value outside its range; the message follows the name of the setting."""


class Ranged:
    """Converts a value to a plain number within a range; base of the types below.

    The types of `jsonargparse.typing` would make instances of their own, which a checkpoint loaded
    with `weights_only` cannot hold.
    """

    base: ClassVar[type[int] | type[float]]
    contains: ClassVar[Callable[[float], bool]]
    label: ClassVar[str]  # in the reference
    words: ClassVar[str]  # in messages

    def __new__(cls, value: Any) -> Any:
        """The plain number.

        Raises:
            RangeError: it is not a number, or outside the range.
        """
        try:
            number = None if isinstance(value, bool) else cls.base(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        truncated = cls.base is int and isinstance(value, float) and value != number
        if number is None or truncated or not math.isfinite(number) or not cls.contains(number):
            raise RangeError(f"is {value}; it must be {cls.words}")
        return number


def _range(
    base: type[int] | type[float], label: str, words: str, contains: Callable[[float], bool]
) -> type[Ranged]:
    attributes = {"base": base, "contains": staticmethod(contains), "label": label, "words": words}
    return type(label, (Ranged,), attributes)


if TYPE_CHECKING:
    PositiveInt = int
    NonNegativeInt = int
    AllOrSome = int
    Seed = int
    Port = int
    PositiveFloat = float
    NonNegativeFloat = float
    UnitInterval = float
    BelowOne = float
    OpenUnit = float
    Probability = float
    UpToHalf = float
else:
    PositiveInt = _range(int, "int ≥ 1", "a whole number of at least 1", lambda v: v >= 1)
    NonNegativeInt = _range(int, "int ≥ 0", "a whole number of at least 0", lambda v: v >= 0)
    AllOrSome = _range(int, "int ≥ -1", "a whole number of at least 0, or -1 for no limit", lambda v: v >= -1)
    Seed = _range(int, "0 ≤ int < 2³²", f"a whole number from 0 to {2**32 - 1}", lambda v: 0 <= v < 2**32)
    Port = _range(int, "0 ≤ int < 2¹⁶", "a whole number from 0 to 65535", lambda v: 0 <= v < 2**16)
    PositiveFloat = _range(float, "float > 0", "a number above 0", lambda v: v > 0)
    NonNegativeFloat = _range(float, "float ≥ 0", "a number of at least 0", lambda v: v >= 0)
    UnitInterval = _range(float, "0 ≤ float ≤ 1", "a number from 0 to 1", lambda v: 0 <= v <= 1)
    BelowOne = _range(float, "0 ≤ float < 1", "a number of at least 0 and below 1", lambda v: 0 <= v < 1)
    OpenUnit = _range(float, "0 < float < 1", "a number above 0 and below 1", lambda v: 0 < v < 1)
    Probability = _range(float, "0 < float ≤ 1", "a number above 0 and at most 1", lambda v: 0 < v <= 1)
    UpToHalf = _range(float, "0 ≤ float ≤ 0.5", "a number from 0 to 0.5", lambda v: 0 <= v <= 0.5)


def register() -> None:
    """Registers the types above with jsonargparse, for modules whose classes LightningCLI reads."""
    from jsonargparse.typing import register_type  # not needed for inference

    for kind in Ranged.__subclasses__():
        register_type(kind, kind.base, type_check=_is_plain)


def _is_plain(value: Any, kind: type[Ranged]) -> bool:
    return type(value) is kind.base and math.isfinite(value) and kind.contains(value)


def check_setting(key: str, kind: Any, value: Any) -> None:
    """Checks a value against the type of a setting.

    Args:
        key: the setting, as a user writes it.
        kind: one of the types above, bool, str, a choice of texts (`Literal`), an abstract class, a list of
            one of these, or a union of them; any other type accepts everything.
        value: the value.

    Raises:
        UserError: the value is not of that type, or outside the range.
    """
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    kinds = typing.get_args(kind) if union else (kind,)
    optional = types.NoneType in kinds
    if optional and value is None:
        return
    checks = [_expectation(each) for each in kinds if each is not types.NoneType]
    if any(one is None or one[0](value) for one in checks):
        return
    words = " or ".join(one[1] for one in checks if one is not None) + (", or null" if optional else "")
    said = str(value) if isinstance(value, Real) else repr(value)
    raise UserError(f"{key} is {said:.80}; it must be {words}")


def _expectation(kind: Any) -> tuple[Callable[[Any], bool], str] | None:
    """Whether a value is of a type, and what it must be; None of a type that accepts everything."""
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return lambda value: isinstance(value, str) and value in choices, f"one of {', '.join(choices)}"
    if origin is list:
        entry = _expectation(choices[0])
        if entry is None:
            return None
        fits, words = entry
        return (
            lambda value: isinstance(value, list | tuple) and all(map(fits, value)),
            f"a list, each {words}",
        )
    if kind is bool:
        return lambda value: isinstance(value, bool), "true or false"
    if kind is str:
        return lambda value: isinstance(value, str | os.PathLike), "a text"
    if isinstance(kind, type) and issubclass(kind, Ranged):
        return partial(_is_within, kind), kind.words
    if inspect.isabstract(kind):  # a checkpoint has its class and arguments
        return lambda value: isinstance(value, kind | Mapping), f"a {kind.__name__}"
    return None


def _is_within(kind: type[Ranged], value: Any) -> bool:
    if not isinstance(value, Integral if kind.base is int else Real):
        return False
    try:
        kind(value)
    except RangeError:
        return False
    return True


def check_options(options: argparse.Namespace, **kinds: Any) -> None:
    """Checks the given options of a command.

    Args:
        options: as parsed by argparse.
        kinds: the types of options with a range, by name.

    Raises:
        UserError: a value is outside its range.
    """
    for name, kind in kinds.items():
        value = getattr(options, name)
        if value is not None:
            check_setting(f"--{name}", kind, value)


def check_arguments(owner: Callable[..., Any], values: Mapping[str, Any], prefix: str) -> None:
    """Checks the arguments of a constructor against the types in its signature; see `check_setting`.

    Args:
        owner: the class.
        values: its arguments by name; unknown names are ignored.
        prefix: of the settings in a config, such as `model.`.

    Raises:
        UserError: a value is not of its type, or outside its range.
    """
    for name, parameter in inspect.signature(owner).parameters.items():
        if name in values:
            check_setting(prefix + name, parameter.annotation, values[name])
