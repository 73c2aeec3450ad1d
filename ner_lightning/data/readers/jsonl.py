"""Reads and writes JSON: an object per line, or one list of objects; every error says where."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ner_lightning.data.readers.column_cells import DOCSTART
from ner_lightning.data.readers.json_notices import JsonNotices
from ner_lightning.data.readers.json_rows import JsonRow, json_rows
from ner_lightning.data.readers.json_shapes import annotated
from ner_lightning.data.readers.json_words import (
    has_spans,
    has_words,
    tags_in,
    text_beside,
    words_field,
    words_in,
)
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import Record, checked_content, rejected
from ner_lightning.data.readers.spacy_json import is_spacy_json, read_spacy_json
from ner_lightning.data.readers.stated_entities import Changed
from ner_lightning.data.sentence import SURROGATE, DataError
from ner_lightning.errors import UserError
from ner_lightning.system.atomic import replacing_text

DOCUMENT = "document"  # the field with what tells documents apart, unless another one is named
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


def read_json(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads one JSON object per line, or a list of objects: words with tags, or texts with entities.

    A row with a list of words is one sentence. Other rows are what doccano, Label Studio, Prodigy, GLiNER
    or spaCy write, see `json_shapes`.

    Args:
        opened: the file.
        options: name fields; whether tags are read.
    """
    yield from records_from(opened.source, json_rows(opened.file), options, "JSON")


def records_from(source: str, rows: Iterable[JsonRow], options: ReadOptions, kind: str) -> Iterator[Record]:
    """Records from parsed rows.

    Args:
        source: the file, for messages.
        rows: the rows.
        options: name fields; whether tags are read.
        kind: the format, for the line that says how the file is read.
    """
    notices = JsonNotices(source, options, kind)
    named = documents = 0
    before: Record | None = None
    for row in rows:
        record = Record(source, row.number, row.text or json.dumps(row.value, default=str)[:200])
        if row.reason:
            yield rejected(record, row.reason)
            continue
        if is_spacy_json(row.value):
            field = options.tags_column or "ner"
            yield from read_spacy_json([(row.number, row.value)], source, field=field, tagged=options.tagged)
            continue
        if notices.is_left_out(row):
            continue
        notices.changes.place = f"line {row.number}" if row.text else f"item {row.number}"
        try:
            found = _record(row.value, record, options, notices.changes)
        except UserError as error:
            yield rejected(record, str(error))
            continue
        named += found.document is not None
        if found.content == (DOCSTART,):
            documents += 1
            continue
        if documents:
            found = found._replace(document=(documents, found.document))
        notices.add(row, found)
        # Consecutive rows of words with the same document, or without one, belong to one document.
        is_same = before is not None and not before.is_text and before.document == found.document
        before = found
        yield found._replace(starts_document=not is_same or found.is_text)
    if before is not None and options.document_column and not named:
        raise DataError(f"{source}:1: no row has the field {options.document_column!r} of its document")
    notices.report()


def _record(row: Any, record: Record, options: ReadOptions, changed: Changed) -> Record:
    """A row's words with tags, or text with entities.

    Raises:
        UserError: the row is malformed.
    """
    if isinstance(row, dict):
        data = row["data"] if isinstance(row.get("data"), dict) else {}  # of Label Studio
        name = options.document_column or DOCUMENT
        document = row.get(name, data.get(name))
        record = record._replace(id=_plain(row.get(options.id_column)), document=_name_of(document))
    has_text = options.tagged and options.words_column is None and has_spans(row, options.tags_column)
    if has_text or not has_words(row, options.words_column):
        found = annotated(row, options.words_column, options.tags_column, changed, tagged=options.tagged)
        content = checked_content(found.text, "the text")
        entities = found.entities if options.tagged else None
        is_sentence = found.tokens is not None and has_words(row, options.words_column)
        return record._replace(
            content=content, entities=entities, tokens=found.tokens, is_sentence=is_sentence
        )
    words = checked_content(
        words_in(row, options.words_column), f"field {words_field(row, options.words_column)!r}"
    )
    tags = tags_in(row, options.tags_column) if options.tagged else None
    if not options.tagged and (beside := text_beside(row, words)) is not None:
        return record._replace(content=words, text=beside[0], tokens=beside[1])
    return record._replace(content=words, tags=tags)


def _name_of(document: Any) -> Any:
    """What a row calls its document, which may be anything."""
    name = _plain(document)
    return name if name is None or isinstance(name, str | int | float) else repr(name)


def _plain(value: Any) -> Any:
    """An id as JSON can have it: Parquet also has times, decimals, bytes and NaN."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        if SURROGATE.search(text):  # half of a pair, which UTF-8 cannot write
            return json.loads(SURROGATE.sub("\ufffd", text))
    except ValueError:  # NaN or infinite
        return None
    except TypeError:
        return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return value


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object per line; the file is replaced in one step."""
    with replacing_text(path) as file:
        file.writelines(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)
