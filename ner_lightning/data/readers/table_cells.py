"""Cells of a table that hold more than a word: lists as Python, numpy or JSON write them, and spans."""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from ner_lightning.data.readers.json_entities import spans_of
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.stated_entities import Changed
from ner_lightning.errors import UserError

_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|-?\d+")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U000([0-9a-fA-F]{5})|(.))", re.DOTALL)
_SIGNS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "b": "\b", "0": "\0"}
_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")  # how JSON writes an emoji
_SPANS = re.compile(r"\s*\[\s*[\[({]")


def filled_cells(row: Sequence[str]) -> list[str]:
    """The cells of a row that are not empty."""
    return [cell for cell in row if cell]


def mostly_lists(cells: Sequence[str]) -> bool:
    """Whether half of the cells that are not empty are lists; the others are errors in the file."""
    filled = filled_cells(cells)
    return 2 * sum(list_in(cell) is not None for cell in filled) >= len(filled) > 0


def hold_spans(cells: Sequence[str]) -> bool:
    """Whether cells are lists of entities as lists or objects, or all of them are empty lists."""
    filled = filled_cells(cells)
    return any(map(_SPANS.match, filled)) or {cell.strip() for cell in filled} == {"[]"}


def spans_in_cell(cell: str, text: str, changed: Changed) -> tuple[CharSpan, ...]:
    """The entities of a text as JSON or, as pandas writes a list of them, as Python.

    Raises:
        UserError: the cell has another form, or an entity is malformed.
    """
    if not cell.strip():
        return ()
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        value = _of_python(cell)
    return spans_of(value, text, changed)


def _of_python(cell: str) -> Any:
    """A value as Python writes it, in JSON's types."""
    try:
        return json.loads(json.dumps(ast.literal_eval(cell.strip())))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise UserError(f"the cell of entities, {cell!r:.40}, is not JSON; export JSON instead") from None


def list_in(cell: str) -> list[str | int] | None:
    """A list as Python or numpy write it: strings and numbers, with or without commas; None if it is none."""
    cell = cell.strip()
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    found: list[str | int] = []
    position, end = 1, len(cell) - 1
    while position < end:
        if cell[position] in ", \n\t":
            position += 1
            continue
        match = _STRING.match(cell, position, end)
        if match is None or cell[match.end()] not in ", \n\t]":
            return None
        text = match[0]
        found.append(_unescaped(text[1:-1]) if text[0] in "'\"" else int(text))
        position = match.end()
    return found


def _unescaped(text: str) -> str:
    """The text of a string of Python or JSON."""
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(lambda m: chr(int(code, 16)) if (code := m[1] or m[2] or m[3]) else _sign(m[4]), text)
    return _PAIR.sub(lambda m: m[0].encode("utf-16", "surrogatepass").decode("utf-16"), plain)


def _sign(letter: str) -> str:
    """What a letter after a backslash stands for; in an unknown pair, the backslash is itself."""
    return _SIGNS.get(letter, letter if letter in "'\"\\/" else f"\\{letter}")
