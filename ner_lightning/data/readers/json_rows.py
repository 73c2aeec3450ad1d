"""Rows of JSON: a line of a file each, or the items of its one list; a malformed one says why."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

from ner_lightning.data.readers.filetype import head_of
from ner_lightning.data.readers.json_shapes import WORDS
from ner_lightning.data.readers.json_spans import TEXTS
from ner_lightning.data.readers.text_lines import lines
from ner_lightning.errors import UserError

# The head of a file that is one list, or one object on several lines.
_VALUE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[\s*[\[{]|\[\s*\n|\{\s*\n)")


class JsonRow(NamedTuple):
    """A row of JSON.

    Attributes:
        number: its line, or its item in a list, from 1.
        value: the parsed JSON; None if there is a reason.
        text: its text, or the beginning of it.
        reason: why it is not JSON.
    """

    number: int
    value: Any
    text: str = ""
    reason: str = ""


def json_rows(file: BinaryIO) -> Iterator[JsonRow]:
    """The lines of JSONL with their numbers, or the items of one list of objects with theirs."""
    if _VALUE.match(head_of(file)):
        data = file.read()
        items = _items(data)
        if items is not None:
            yield from (JsonRow(number, item) for number, item in enumerate(items, start=1))
            return
        file = BytesIO(data)
    texts = 0
    for number, text, reason in lines(file):
        if reason:
            yield JsonRow(number, None, text[:200], reason)
        elif text.strip():
            try:
                value = _parse(text)
            except UserError as error:
                yield JsonRow(number, None, text[:200], str(error))
                continue
            annotated = _annotated(value)
            if annotated is None:
                yield JsonRow(number, value, text[:200])
            else:
                yield from (JsonRow(item, each) for item, each in enumerate(annotated, start=texts + 1))
                texts += len(annotated)


def _annotated(value: Any) -> list[Any] | None:
    """The texts of an export of tecoholic's NER Annotator, which is one object; None if it is none."""
    if not isinstance(value, dict) or not {"data", *TEXTS, *WORDS}.isdisjoint(value):
        return None
    items = value.get("annotations")
    if not isinstance(items, list) or not all(item is None or _is_pair(item) for item in items):
        return None
    return [item for item in items if item is not None]


def _is_pair(item: Any) -> bool:
    """Whether an item is a text and an object with its entities."""
    return (
        isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], dict)
    )


def _items(data: bytes) -> Sequence[Any] | None:
    """The rows of a file that is one JSON value; None if it is not."""
    value: Any = None
    with suppress(UserError, UnicodeDecodeError):
        value = _parse(data.decode("utf-8-sig"))
    if isinstance(value, dict):
        annotated = _annotated(value)
        value = [value] if annotated is None else annotated
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return value
    return None


def _parse(text: str) -> Any:
    """Parses JSON.

    Raises:
        UserError: it is malformed.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg} at column {error.colno}; write one object per line") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets a thousand deep
        raise UserError(
            "JSON that cannot be parsed: a number is too long, or it is nested too deeply"
        ) from None
