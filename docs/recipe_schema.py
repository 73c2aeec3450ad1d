"""The JSON schema of recipes, by which editors complete and check keys; made from the settings themselves."""

import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import docstring_parser
from lightning.pytorch import Trainer

from ner_lightning.system.ranges import Ranged
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.loggers.logged_text import LogText
from ner_lightning.training.module import NERModule

SCHEMA = "https://json-schema.org/draft/2020-12/schema"
TITLE = "A recipe of ner-lightning"
PLAIN: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
}
# `0 ≤ float < 1`, as the label of a range says it.
RANGE = re.compile(r"(?:(?P<low>\S+) (?P<above>[≤<]) )?(?:int|float)(?: (?P<sign>[≥>≤<]) (?P<bound>\S+))?$")
POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
OBJECT = {
    "type": "object",
    "properties": {"class_path": {"type": "string"}, "init_args": {"type": "object"}},
    "required": ["class_path"],
}


def recipe_schema() -> dict[str, Any]:
    """The schema of a whole recipe."""
    model = of_callable(NERModule, without={"types", "members"})
    data = of_callable(
        CoNLLDataModule, without={"seed", "backbone", "backbone_revision", "trust_remote_code"}
    )
    trainer = {
        "type": "object",
        "description": "Arguments of Lightning's Trainer.",
        "properties": {name: {} for name in inspect.signature(Trainer).parameters},
        "patternProperties": {r"\+$": {}},
        "additionalProperties": False,
    }
    return {
        "$schema": SCHEMA,
        "title": TITLE,
        "type": "object",
        "properties": {
            "seed_everything": {"type": ["integer", "boolean"], "description": "Seed of all random numbers."},
            "runs": {"type": "string", "description": "The folder of run folders."},
            "name": {"type": "string", "description": "The run's name."},
            "checkpoint_every_n_steps": {"type": ["integer", "null"], "minimum": 1},
            "log_text": {
                "enum": list(typing.get_args(LogText)),
                "description": "Whether W&B gets text of the data.",
            },
            "trainer": trainer,
            "model": model,
            "data": data,
        },
        "additionalProperties": False,
    }


def of_callable(owner: Any, without: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    """The schema of a constructor's arguments."""
    hints = typing.get_type_hints(owner.__init__)
    told = {p.arg_name: p.description for p in docstring_parser.parse(owner.__doc__ or "").params}
    properties: dict[str, Any] = {}
    for name, parameter in inspect.signature(owner).parameters.items():
        if name in without:
            continue
        entry = dict(of_type(hints[name]))
        if told.get(name):
            entry["description"] = " ".join((told[name] or "").split())
        default = parameter.default
        if default is not parameter.empty and isinstance(default, bool | int | float | str):
            entry["default"] = default
        properties[name] = entry
    return {"type": "object", "properties": properties, "additionalProperties": False}


def of_type(kind: Any) -> Mapping[str, Any]:
    """The schema of a type annotation."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return {}
    if kind in PLAIN:
        return PLAIN[kind]
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [of_type(argument) for argument in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": of_type(arguments[0])}
    if isinstance(kind, type) and issubclass(kind, Ranged):
        return of_range(kind)
    if dataclasses.is_dataclass(kind):
        return of_callable(kind)
    return OBJECT


def of_range(kind: type[Ranged]) -> dict[str, Any]:
    """The schema of a number with a range."""
    schema = dict(PLAIN[kind.base])
    found = RANGE.fullmatch(kind.label)
    assert found is not None, kind.label
    if found["low"]:
        schema["minimum" if found["above"] == "≤" else "exclusiveMinimum"] = _number(found["low"])
    if found["bound"]:
        sign = found["sign"]
        key = {"≥": "minimum", ">": "exclusiveMinimum", "≤": "maximum", "<": "exclusiveMaximum"}[sign]
        schema[key] = _number(found["bound"])
    return schema


def _number(text: str) -> float:
    base, power = re.fullmatch(r"(-?[\d.]+?)([⁰¹²³⁴⁵⁶⁷⁸⁹]*)", text).groups()  # type: ignore[union-attr]
    value = float(base) ** int(power.translate(POWERS)) if power else float(base)
    return int(value) if value.is_integer() else value


def schema_text() -> str:
    """The schema's file."""
    return json.dumps(recipe_schema(), indent=1, ensure_ascii=False) + "\n"
