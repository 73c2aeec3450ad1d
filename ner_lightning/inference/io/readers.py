"""Reads records to tag from text, JSONL, CSV, Parquet and columns, one at a time; no torch.

A record that cannot be read is yielded with its reason, so that the caller can stop or go on.
"""

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import chain, islice
from typing import Any, BinaryIO

from ner_lightning.data.readers.column_layout import DOCSTART, ColumnLayout, columns_of
from ner_lightning.data.readers.jsonl import read_object
from ner_lightning.data.sentence import SURROGATE, DataError
from ner_lightning.errors import UserError
from ner_lightning.inference.io.records import MAX_BYTES, Record, checked_content, lines, rejected

MAX_ROWS = 100_000  # of a sentence in CoNLL columns
HEAD = 1000  # lines that CoNLL columns and their layout are recognised by
_DOCUMENT = "document"  # a field of JSONL
_OTHER_FIELDS = ("tokens", "words")  # fields of JSONL that are read if there is no `text`


def read_jsonl(file: BinaryIO, source: str, field: str, id_field: str) -> Iterator[Record]:
    """Reads an object per line."""
    previous: object = object()  # equal to nothing that a row can hold
    for line in lines(file, source):
        if line.reason:
            yield line
        if line.reason or not str(line.content).strip():
            continue
        try:
            row = read_object(str(line.content))
            content = _content(row, field)
        except UserError as error:
            yield rejected(line, str(error))
            continue
        # As in training data, consecutive rows of words with the same `document`, or without one, belong
        # to one document.
        starts = isinstance(content, str) or row.get(_DOCUMENT) != previous
        previous = row.get(_DOCUMENT)
        yield line._replace(content=content, id=row.get(id_field), starts_document=starts)


def _content(row: dict[str, Any], field: str) -> str | tuple[str, ...]:
    names = (field, *(_OTHER_FIELDS if field == "text" else ()))
    name = next((name for name in names if name in row), None)
    if name is None:
        fields = ", ".join(row) or "none"
        raise UserError(f"no field {field!r}; name another one with --field (fields: {fields})")
    return checked_content(row[name], f"field {name!r}")


def read_csv(file: BinaryIO, source: str, field: str, id_field: str) -> Iterator[Record]:
    """Reads a row per record, under a header.

    Raises:
        DataError: the header has no such column.
    """
    csv.field_size_limit(MAX_BYTES)
    text = TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.reader(text, strict=True)
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise DataError(f"{source}:1: not CSV: {error}") from None
    _check_column(field, header, f"{source}:1")
    column = header.index(field)
    id_column = header.index(id_field) if id_field in header else None
    while True:
        begin = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield Record(source, begin, reason=f"not CSV: {error}")
            continue
        if row is None:
            text.detach()
            return
        record = Record(source, begin, ",".join(row), starts_document=True)
        if row and len(row) != len(header):
            yield rejected(record, f"{len(row)} columns where the header has {len(header)}")
        elif row and SURROGATE.search(str(record.content)):
            yield rejected(record, "bytes that are not UTF-8")
        elif row:
            yield record._replace(content=row[column], id=None if id_column is None else row[id_column])


def read_parquet(file: BinaryIO, source: str, field: str, id_field: str) -> Iterator[Record]:
    """Reads a row per record.

    Raises:
        DataError: the file is not Parquet, or has no such column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        _check_column(field, table.schema_arrow.names, source)
        columns = [name for name in (field, id_field) if name in table.schema_arrow.names]
        line = 0
        for batch in table.iter_batches(batch_size=256, columns=list(dict.fromkeys(columns))):
            for row in batch.to_pylist():
                line += 1
                record = Record(source, line, id=row.get(id_field), starts_document=True)
                try:
                    content = checked_content(row[field], f"column {field!r}")
                except UserError as error:
                    yield rejected(record, str(error))
                else:
                    yield record._replace(content=content)
    except pa.ArrowException as error:
        raise DataError(f"{source}: not a complete Parquet file: {str(error).splitlines()[0]}") from None


def read_conll(read: Iterator[Record], source: str, word_column: int | None) -> Iterator[Record]:
    """Reads sentences in columns, with a word per line and a blank line after each sentence.

    Args:
        read: the lines.
        source: the file's name, for messages.
        word_column: the column of words, from 0; None: found by `ColumnLayout`.
    """
    head = list(islice(read, HEAD))
    rows = [[] if line.reason else columns_of(str(line.content)) for line in head]
    layout = ColumnLayout.of(source, rows, word_column, tagged=False)
    sentence: list[Record] = []
    starts_document = False
    for line in chain(head, read, (None,)):
        row = [] if line is None else columns_of(str(line.content))
        is_start = row[:1] == [DOCSTART]
        if line is not None and row and not is_start and len(sentence) <= MAX_ROWS:
            sentence.append(line)
            continue
        if sentence:
            record = _sentence(sentence, layout)
            if record is not None:
                yield record._replace(starts_document=starts_document)
                starts_document = False
            sentence = []
        starts_document = starts_document or is_start


def _sentence(rows: list[Record], layout: ColumnLayout) -> Record | None:
    """A sentence from its rows; None if all of them are comments."""
    words: list[str] = []
    first: Record | None = None
    for row in rows:
        columns = columns_of(str(row.content))
        try:
            if row.reason:
                raise UserError(row.reason)
            if first is None and layout.is_comment(columns):
                continue
            first = first or row
            words.append(layout.cells(columns, str(row.content))[0])
            if len(words) > MAX_ROWS:
                raise UserError(f"no blank line in {MAX_ROWS:,} rows; end each sentence with one")
        except UserError as error:
            return rejected(row, str(error))
    return None if first is None else first._replace(content=tuple(words))


def _check_column(name: str, columns: list[str], where: str) -> None:
    if name not in columns:
        found = ", ".join(columns) or "none"
        raise DataError(f"{where}: no column {name!r}; name another one with --field (columns: {found})")
