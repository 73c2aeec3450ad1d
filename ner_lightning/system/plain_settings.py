"""Settings as frozen dataclasses: to and from plain values, and what a checkpoint fixes."""

import dataclasses
import difflib
import os
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Number
from typing import Any, Literal, TypeVar

from ner_lightning.errors import UserError

Level = Literal["weights", "training"]
T = TypeVar("T")
_from_checkpoint = ContextVar("from_checkpoint", default=False)


def fixed(by: Level, default: Any = dataclasses.MISSING) -> Any:
    """A field whose value a checkpoint fixes.

    Args:
        by: `weights` where another value would give the weights another meaning; `training` where it
            matters to a resumed training alone.
        default: the field's default; without one the field must be given.
    """
    return dataclasses.field(default=default, metadata={"fixed": by})


def fixed_keys(kind: type, by: Level, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a dataclass, and of those inside it, that a checkpoint fixes."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        key = prefix + field.name
        if field.metadata.get("fixed") == by:
            yield key
        elif dataclasses.is_dataclass(hints[field.name]):
            yield from fixed_keys(typing.cast(type, hints[field.name]), by, f"{key}.")


def to_plain(value: Any) -> Any:
    """Settings as dicts, lists, numbers and strings: what YAML, JSON and `weights_only` loading can hold.

    An object that is not a dataclass becomes `class_path` and `init_args`, as a config names it.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(entry) for entry in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if is_numpy_number(value):
        return value.item()
    kind = type(value)
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": to_plain(vars(value))}


def is_numpy_number(value: Any) -> bool:
    """Whether a value is a number of numpy's, whose `item` is that of Python."""
    return isinstance(value, Number) and hasattr(value, "item")


def select(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those entries of plain values that are fields of a dataclass, and of the dataclasses inside it."""
    hints = typing.get_type_hints(kind)
    return {
        field.name: select(typing.cast(type, hints[field.name]), values[field.name])
        if dataclasses.is_dataclass(hints[field.name])
        else values[field.name]
        for field in dataclasses.fields(kind)
        if field.name in values
    }


@contextmanager
def from_checkpoint() -> Iterator[None]:
    """Within it, `coerced` ignores names that it does not know: another version may have stored them."""
    token = _from_checkpoint.set(True)
    try:
        yield
    finally:
        _from_checkpoint.reset(token)


def coerced(kind: type[T], value: T | Mapping[str, Any]) -> T:
    """A dataclass, given as one or as plain values.

    Raises:
        UserError: it is neither, a name is not one of its fields, or a value is outside its range.
    """
    if isinstance(value, kind):
        return value
    return build(kind, known_settings(kind, value))


def known_settings(kind: type, values: Any) -> Mapping[str, Any]:
    """What a caller gives instead of a dataclass, checked.

    Raises:
        UserError: it is no mapping, or a name in it is not a field.
    """
    what = kind.__name__
    if not isinstance(values, Mapping):
        raise UserError(
            f"{what.lower()} is {values!r:.80}; give {what}(...) or a dict of its settings, or leave it out"
        )
    names = [field.name for field in dataclasses.fields(kind)]
    unknown = None if _from_checkpoint.get() else next((name for name in values if name not in names), None)
    if unknown is not None:
        raise UserError(f"{what} has no setting {unknown}; {likely(str(unknown), names)}")
    return values


def likely(name: str, known: list[str]) -> str:
    """Which of some names was probably meant, as a question, or what they are."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"did you mean {close[0]}?" if close else f"its settings are {', '.join(known)}"


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from plain values; entries that are not its fields are ignored.

    Raises:
        TypeError: a field without default is missing.
        UserError: a value is outside its range.
    """
    hints = typing.get_type_hints(kind)
    arguments = {
        name: build(typing.cast(type, hints[name]), value)
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, Mapping)
        else value
        for name, value in values.items()
        if name in hints
    }
    return kind(**arguments)
