"""Errors of the options' parser, in a line or two that name the key and what to do."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import ArgumentError

from ner_lightning.commands.options.known_names import no_option
from ner_lightning.errors import UserError


@contextmanager
def user_errors(parser: Any) -> Iterator[None]:
    """Turns a parser's errors into `UserError`s that name the key."""
    try:
        yield
    except ArgumentError as error:
        raise UserError(explain(str(error), [action.dest for action in parser._actions])) from None


def explain(message: str, keys: Collection[str]) -> str:
    """A parser's error in a line or two, with the key that was probably meant.

    Args:
        message: what jsonargparse says.
        keys: all keys that exist.
    """
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    text = re.sub(r"^Call to compute_fn .*? failed: ", "", " ".join(lines))
    key = re.match(r'Parser key "([\w.]+)"', text)
    bad_class = re.search(r"Problem with given class_path '(.+?)': (.+?) - (?:Expected|Not a valid)", text)
    if key is not None and bad_class is not None:
        absent = "No module named" in bad_class[2] or "not found" in bad_class[2]
        hint = "; a module in this folder is found with PYTHONPATH=. before the command" if absent else ""
        return f"{key[1]}: class_path {bad_class[1]}: {bad_class[2]}{hint}"
    out_of_range = re.search(
        r"Not of type [^:]+: (is .+?; it must be .+?)(?= - Expected a| Given value|$)", text
    )
    if key is not None and out_of_range is not None:
        return f"{key[1]} {out_of_range[1]}" + (", or null" if "NoneType" in text else "")
    text = re.sub(r"<class '(\w+)'>", r"\1", text).replace("typing.", "")
    text = re.sub(r"^Parser key \"config\": *", "--config: ", text)
    text = re.sub(r"^Parser key \"([\w.]+)\": *", r"\1: ", text)
    text = re.sub(
        r"Does not validate against any of .*? Subtypes: \[(.*?)\] Errors: .*Given value: (.*)",
        lambda m: f"Expected {m[1].replace(', ', ' or ').replace('NoneType', 'null')}. Got value: {m[2]}",
        text,
    )
    unknown = re.search(r"unrecognized arguments: --([\w.]+)", text) or re.search(
        r"(?:Key|[Oo]ption|[Kk]ey) ['\"]([\w.]+)['\"]", text
    )
    if unknown is not None and unknown[1] not in keys:
        return no_option(unknown[1], keys)
    return text if len(text) < 300 else text[:300] + " ..."
