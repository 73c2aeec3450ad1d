"""Rows of JSON: a line of a file each, or the items of its one list; a malformed one says why."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from itertools import chain, islice
from typing import Any, BinaryIO, NamedTuple

from ner_lightning.data.readers.filetype import head_of
from ner_lightning.data.readers.json_spans import SPANS, TEXTS, own_text
from ner_lightning.data.readers.json_words import WORDS, are_objects
from ner_lightning.data.readers.label_studio import is_task
from ner_lightning.data.readers.text_lines import lines, too_long
from ner_lightning.errors import UserError

# The head of a file that is one list, or one object on several lines.
_VALUE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[\s*[\[{]|\[\s*\n|\{\s*\n)")
_VISIBLE = re.compile(r"\S")


class JsonRow(NamedTuple):
    """A row of JSON.

    Attributes:
        number: its line, or its item in a list, from 1.
        value: the parsed JSON; None if it is not JSON.
        text: its text, or the beginning of it.
        reason: why it is no row; empty if it may be one.
        within: the field that lists it, in a file that is one object.
    """

    number: int
    value: Any
    text: str = ""
    reason: str = ""
    within: str = ""


def json_rows(file: BinaryIO) -> Iterator[JsonRow]:
    """The lines of JSONL with their numbers, or the items of one list of objects with theirs."""
    if _VALUE.match(head_of(file)):
        data = file.read()
        items = _items(data)
        if items is not None:
            yield from items
            return
        file = BytesIO(data)
    rows = _lines(file)
    first = list(islice(rows, 1))
    if first and (listed := _listed(first[0].value)):
        first += islice(rows, 1)
        if len(first) == 1:  # the object is all there is
            yield from listed
            return
    texts = 0
    for row in chain(first, rows):
        annotated = _annotated(row.value)
        if annotated is None:
            yield row
        else:
            yield from (JsonRow(item, each) for item, each in enumerate(annotated, start=texts + 1))
            texts += len(annotated)


def _lines(file: BinaryIO) -> Iterator[JsonRow]:
    """The lines that are not blank, parsed."""
    for number, text, reason in lines(file):
        if reason:
            more = ", or write one row per line" if reason == too_long() else ""
            yield JsonRow(number, None, text[:200], reason + more)
        elif text.strip():
            try:
                value = _parse(text)
            except UserError as error:
                yield JsonRow(number, None, text[:200], str(error))
            else:
                yield JsonRow(number, value, text[:200], _why_no_row(value))


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


def _items(data: bytes) -> list[JsonRow] | None:
    """The rows of a file that is one JSON value; None if it is not."""
    value: Any = None
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            value = _one_after_another(text)
    except (ValueError, RecursionError):  # what is wrong is said line by line
        return None
    if listed := _listed(value):
        return listed
    if isinstance(value, dict) or value == []:
        annotated = _annotated(value)
        value = [value] if annotated is None else annotated
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return [JsonRow(number, item, "", _why_no_row(item)) for number, item in enumerate(value, start=1)]
    return None


def _one_after_another(text: str) -> list[Any] | None:
    """The objects of a text that has nothing but objects, each on several lines; None if it has others."""
    decoder, values = json.JSONDecoder(), []
    at = _next(text, 0)
    with suppress(ValueError, RecursionError):
        while at < len(text):
            value, end = decoder.raw_decode(text, at)
            values.append(value)
            at = _next(text, end)
        return values if all(isinstance(value, dict) for value in values) else None
    return None


def _next(text: str, at: int) -> int:
    """Where the next visible character is, or the end of the text."""
    match = _VISIBLE.search(text, at)
    return len(text) if match is None else match.start()


def _lists(value: Any) -> Mapping[str, list[Any]]:
    """The lists of objects in an object; none if it seems to be a row itself."""
    if not isinstance(value, dict) or _is_row(value):
        return {}
    lists = {name: held for name, held in value.items() if are_objects(held)}
    # A text may have any name, and a list of its entities or tokens beside it.
    texts = " ".join(held for held in value.values() if isinstance(held, str))
    inside = (own_text(item) for held in lists.values() for item in held)
    is_row = not {*SPANS, *WORDS}.isdisjoint(lists) or any(text and text in texts for text in inside)
    return {} if is_row else lists


def _listed(value: Any) -> list[JsonRow]:
    """The rows of an object with one list of objects, if all are rows; otherwise none."""
    lists = _lists(value)
    if len(lists) != 1:
        return []
    ((name, items),) = lists.items()
    return [JsonRow(n, item, within=name) for n, item in enumerate(items, start=1)] * all(map(_is_row, items))


def _is_row(value: Mapping[str, Any]) -> bool:
    """Whether an object has a text or words of its own, and is no entity of a text or message of a chat."""
    has_content = own_text(value) or not {*WORDS, "tokenized_text"}.isdisjoint(value) or is_task(value)
    return bool(has_content) and {"start", "start_offset", "role"}.isdisjoint(value)


def _why_no_row(value: Any) -> str:
    """Why a JSON value cannot be a row; empty if it may be one."""
    if value == []:
        return "an empty JSON list, which holds no rows"
    if not isinstance(value, dict) or not value:
        return ""
    if {"columns", "index", "data"} <= value.keys() or _is_numbered(value):
        return (
            "pandas wrote all rows as one object; write one row per line: "
            'df.to_json(FILE, orient="records", lines=True)'
        )
    lists = _lists(value)
    if len(lists) > 1 and any(_is_row(item) for held in lists.values() for item in held):
        return f"an object with several lists, {' and '.join(lists)}; write the rows of each as a file"
    return ""


def _is_numbered(value: Mapping[str, Any]) -> bool:
    """Whether an object has its rows by number, or the cells of each column, as pandas' `to_json` writes."""
    if not all(isinstance(held, dict) and held for held in value.values()):
        return False
    return all(map(str.isdecimal, value)) or all(map(str.isdecimal, chain.from_iterable(value.values())))


def _parse(text: str) -> Any:
    """Parses JSON.

    Raises:
        UserError: it is malformed.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text[error.pos :].strip() == ",":
            raise UserError("a comma after the object; remove the commas at the ends of lines") from None
        raise UserError(f"not JSON: {error.msg} at column {error.colno}; write one object per line") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets a thousand deep
        raise UserError(
            "JSON that cannot be parsed: a number is too long, or it is nested too deeply"
        ) from None
