"""Number types with a range, for settings: used by the parser, by constructors and by the reference."""

import argparse
import inspect
import math
import typing
from collections.abc import Callable, Mapping
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
    PositiveUnit = float
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
    PositiveUnit = _range(float, "0 < float ≤ 1", "a number above 0 and at most 1", lambda v: 0 < v <= 1)
    UpToHalf = _range(float, "0 ≤ float ≤ 0.5", "a number from 0 to 0.5", lambda v: 0 <= v <= 0.5)


def register() -> None:
    """Registers the types above with jsonargparse, for modules whose classes LightningCLI reads."""
    from jsonargparse.typing import register_type  # not needed for inference

    for kind in Ranged.__subclasses__():
        register_type(kind, kind.base, type_check=_is_plain)


def _is_plain(value: Any, kind: type[Ranged]) -> bool:
    return type(value) is kind.base and math.isfinite(value) and kind.contains(value)


def check(key: str, kind: Any, value: Any) -> None:
    """Checks a value against the type of a setting; types without a range accept everything.

    Args:
        key: the setting, as a user writes it.
        kind: one of the types above, alone or in a union with None, or any other type.
        value: the value.

    Raises:
        UserError: the value is outside the range.
    """
    kinds = typing.get_args(kind) or (kind,)
    ranged = [k for k in kinds if isinstance(k, type) and issubclass(k, Ranged)]
    optional = type(None) in kinds
    if not ranged or (optional and value is None):
        return
    number = Integral if ranged[0].base is int else Real
    try:
        if not isinstance(value, number):
            raise RangeError(f"is {value!r}; it must be {ranged[0].words}")
        ranged[0](value)
    except RangeError as error:
        raise UserError(f"{key} {error}{', or null' if optional else ''}") from None


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
            check(f"--{name}", kind, value)


def check_arguments(owner: Callable[..., Any], values: Mapping[str, Any], prefix: str) -> None:
    """Checks the arguments of a constructor against the ranges in its signature.

    Args:
        owner: the class.
        values: its arguments by name; unknown names are ignored.
        prefix: of the settings in a config, such as `model.`.

    Raises:
        UserError: a value is outside its range.
    """
    for name, parameter in inspect.signature(owner).parameters.items():
        if name in values:
            check(prefix + name, parameter.annotation, values[name])
