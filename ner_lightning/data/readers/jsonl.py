"""Reads and writes JSON: an object per line, or one list of objects; every error says where."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ner_lightning.data.readers.column_cells import DOCSTART
from ner_lightning.data.readers.filetype import head_of
from ner_lightning.data.readers.json_shapes import (
    WORDS,
    annotated,
    has_words,
    tags_in,
    text_beside,
    words_field,
)
from ner_lightning.data.readers.json_spans import TEXTS
from ner_lightning.data.readers.label_studio import has_predictions_alone, has_several, is_skipped, others
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import Record, checked_content, rejected
from ner_lightning.data.readers.spacy_json import is_spacy_json, read_spacy_json
from ner_lightning.data.readers.text_lines import lines
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError
from ner_lightning.system.atomic import replacing_text
from ner_lightning.system.progress import stage, warn

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
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


def read_json(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads one JSON object per line, or a list of objects: words with tags, or texts with entities.

    A row with a list of words is one sentence. Other rows are what doccano, Label Studio, Prodigy, GLiNER
    or spaCy write, see `json_shapes`.

    Args:
        opened: the file.
        options: name fields; whether tags are read.
    """
    yield from records_from(opened.source, _rows(opened.file), options, "JSON")


def records_from(source: str, rows: Iterable[JsonRow], options: ReadOptions, kind: str) -> Iterator[Record]:
    """Records from parsed rows.

    Args:
        source: the file, for messages.
        rows: the rows.
        options: name fields; whether tags are read.
        kind: the format, for the line that says how the file is read.
    """
    said: set[str] = set()
    counts: Counter[str] = Counter()
    before: Record | None = None
    for row in rows:
        record = Record(source, row.number, row.text or json.dumps(row.value, default=str)[:200])
        if row.reason:
            yield rejected(record, row.reason)
            continue
        if is_spacy_json(row.value):
            yield from read_spacy_json([(row.number, row.value)], source, tagged=options.tagged)
            continue
        if options.tagged and is_skipped(row.value):
            counts["skipped"] += 1
            continue
        try:
            found = _record(row.value, record, options)
        except UserError as error:
            yield rejected(record, str(error))
            continue
        counts["named"] += found.document is not None
        if found.content == (DOCSTART,):
            counts["documents"] += 1
            continue
        if counts["documents"]:
            found = found._replace(document=(counts["documents"], found.document))
        if not said:
            said.add(_what(found))
            stage(f"{source}: {kind} with {_what(found)}.")
        counts["several"] += options.tagged and has_several(row.value)
        counts["predicted"] += options.tagged and has_predictions_alone(row.value)
        counts["others"] += others(row.value) if options.tagged else 0
        # Consecutive rows of words with the same document, or without one, belong to one document.
        is_same = before is not None and before.document == found.document
        before = found
        yield found._replace(starts_document=not is_same or isinstance(found.content, str))
    if before is not None and options.document_column and not counts["named"]:
        raise DataError(f"{source}:1: no row has the field {options.document_column!r} of its document")
    _warn_of(source, counts)


def _what(record: Record) -> str:
    if not isinstance(record.content, str):
        return "lists of words"
    return "texts" if record.entities is None else "texts with entities"


def _warn_of(source: str, counts: Counter[str]) -> None:
    if skipped := counts["skipped"]:
        warn(f"{source}: {skipped:,} rows are left out: not annotated, or rejected, ignored or cancelled.")
    if other := counts["others"]:
        warn(f"{source}: {other:,} results that mark no text, such as choices or relations, are left out.")
    if predicted := counts["predicted"]:
        warn(f"{source}: {predicted:,} tasks have no annotation; the predictions of a model are read.")
    if several := counts["several"]:
        warn(f"{source}: {several:,} tasks have several annotations; the first of each is read.")


def _record(row: Any, record: Record, options: ReadOptions) -> Record:
    """A row's words with tags, or text with entities.

    Raises:
        UserError: the row is malformed.
    """
    if isinstance(row, dict):
        data = row["data"] if isinstance(row.get("data"), dict) else {}  # of Label Studio
        name = options.document_column or "document"
        document = row.get(name, data.get(name))
        record = record._replace(
            id=_plain(row.get(options.id_column)), document=None if document is None else repr(document)
        )
    if not has_words(row, options.words_column):
        found = annotated(row, options.words_column, options.tags_column, tagged=options.tagged)
        content = checked_content(found.text, "the text")
        entities = found.entities if options.tagged else None
        return record._replace(content=content, entities=entities, tokens=found.tokens)
    name = words_field(row, options.words_column)
    words = row[name]
    if not isinstance(words, list):
        raise UserError(f"field {name!r} is not a list; write a list of words")
    words = checked_content(words, f"field {name!r}")
    tags = tags_in(row, options.tags_column) if options.tagged else None
    if not options.tagged and (beside := text_beside(row, words)) is not None:
        return record._replace(content=beside.text, tokens=beside.tokens)
    return record._replace(content=words, tags=tags)


def _plain(value: Any) -> Any:
    """An id as JSON can have it: Parquet also has times, decimals, bytes and NaN."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:  # NaN or infinite
        return None
    except TypeError:
        return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return value


def _rows(file: BinaryIO) -> Iterator[JsonRow]:
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
                value = parse(text)
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
        value = parse(data.decode("utf-8-sig"))
    if isinstance(value, dict):
        annotated = _annotated(value)
        value = [value] if annotated is None else annotated
    if isinstance(value, list) and value and all(isinstance(item, dict | list) for item in value):
        return value
    return None


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object per line; the file is replaced in one step."""
    with replacing_text(path) as file:
        file.writelines(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)


def parse(text: str) -> Any:
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
