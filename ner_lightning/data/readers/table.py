"""Reads CSV: a word per row, or a text or a list of words per row; every error says file:line."""

import csv
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import chain, islice, tee
from typing import TextIO

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.csv_rows import CheckedRow, checked_rows, parsed, parsed_by_line, whole_lines
from ner_lightning.data.readers.entity_rows import EntityColumns, entity_rows
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.readers.table_cells import filled_cells, list_in, spans_in_cell
from ner_lightning.data.readers.table_head import SEPARATORS, delimiter_of, header_of, is_data, separator_in
from ner_lightning.data.readers.table_layout import TableLayout
from ner_lightning.data.readers.table_sentences import sentences_of
from ner_lightning.data.readers.text_lines import MAX_BYTES
from ner_lightning.data.sentence import SURROGATE, DataError
from ner_lightning.errors import UserError
from ner_lightning.system.progress import stage

CSV_SUFFIXES = (".csv",)
HEAD = 100  # rows by which it is recognised what the columns hold


def read_table(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads a header and rows; columns are separated by commas, semicolons, tabs, or vertical bars alone.

    A sentence of words ends where the cell of its column or that of its document changes, and an empty cell
    continues it, so sentence numbers may start again in each document. Without a column of sentences it ends
    at a blank row, too. A CR alone ends a line only if it ends the header. A first line `sep=;` names what
    separates columns. The first row may be data if columns are given by number.

    Args:
        opened: the file.
        options: name columns by the header's names, or by number from 0.

    Raises:
        DataError: the header has no such column.
    """
    csv.field_size_limit(MAX_BYTES)
    text = TextIOWrapper(opened.file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        first, number, delimiter = _beginning(text, options)
        where = f"{opened.source}:{number}"
        header = header_of(where, first, delimiter)
        below = whole_lines(text, first)
        if (columns := EntityColumns.of(header, options)) is not None:
            found = checked_rows(parsed(below, delimiter, number + 1), opened.source, header)
            yield from entity_rows(opened.source, found, columns)
            return
        lines, again = tee(below)
        rows = checked_rows(parsed(lines, delimiter, number + 1), opened.source, header)
        head, unclosed = _first(rows)
        rest: Iterator[str] = again
        if is_data(where, header, [row for _, row in head], options):
            head = [(Record(opened.source, number), header), *head]
            header = list(map(str, range(len(header))))
            rest, number = chain([first], again), number - 1
        layout = TableLayout.of(where, header, [row for _, row in head], options)
        if unclosed is not None and layout.kind != "word":  # where a lone quote is a word
            raise unclosed
        between = SEPARATORS.get(delimiter, repr(delimiter))
        stage(f"{opened.source}: a table with {between} between columns: {layout.describe(header)}.")
        if layout.kind == "word":
            by_line = parsed_by_line(rest, delimiter, len(header), layout.content, number + 1)
            yield from sentences_of(opened.source, checked_rows(by_line, opened.source, header), layout)
        else:
            del again, rest  # or they would keep all lines
            yield from _texts(opened.source, chain(head, rows), layout)
    finally:
        text.detach()


def _beginning(text: TextIO, options: ReadOptions) -> tuple[str, int, str]:
    """The line of the header, its number, and what separates columns."""
    first = text.readline()
    delimiter = separator_in(first)
    if delimiter is None:
        return first, 1, delimiter_of(first, options)
    return text.readline(), 2, delimiter


def _first(rows: Iterator[CheckedRow]) -> tuple[list[CheckedRow], DataError | None]:
    """The rows by which a table is recognised, up to a quote that is not closed."""
    head: list[CheckedRow] = []
    try:
        for row in islice(rows, HEAD):
            head.append(row)
    except DataError as error:
        return head, error
    return head, None


def _texts(source: str, rows: Iterator[CheckedRow], layout: TableLayout) -> Iterator[Record]:
    """A record for each row."""
    changes = Changes()
    previous: object = None
    for number, (record, row) in enumerate(rows):
        if record.reason or not filled_cells(row):
            if record.reason:
                yield record
            continue
        document = None if layout.document is None else row[layout.document] or previous
        is_own = layout.document is None and layout.kind in ("text", "span")
        starts = is_own or number == 0 or document != previous
        previous = document
        record = record._replace(
            id=None if layout.id is None else row[layout.id], starts_document=starts, document=document
        )
        if layout.kind == "text":
            yield record._replace(content=row[layout.content])
        elif layout.kind == "span":
            changes.place = f"line {record.line}"
            yield _with_entities(record, row, layout, changes)
        else:
            yield _of_lists(record, row, layout)
    changes.report(source)


def _with_entities(record: Record, row: Sequence[str], layout: TableLayout, changes: Changes) -> Record:
    """A text with the entities that a cell lists."""
    assert layout.tags is not None, "a table of spans has a column of them"
    record = record._replace(content=row[layout.content])
    try:
        return record._replace(entities=spans_in_cell(row[layout.tags], row[layout.content], changes))
    except UserError as error:
        return rejected(record, str(error))


def _of_lists(record: Record, row: Sequence[str], layout: TableLayout) -> Record:
    """A sentence whose words or tags are lists in cells, or separated by spaces."""
    cell = row[layout.content]
    if layout.kind == "sentence" and layout.tags is not None:
        return record._replace(content=tuple(cell.split()), tags=tuple(row[layout.tags].split()))
    is_list = layout.has_lists or cell.lstrip().startswith(("['", '["'))
    words = list_in(cell) if is_list else cell.split()
    tags = None if layout.tags is None else list_in(row[layout.tags])
    if words is None or (layout.tags is not None and tags is None):
        what = "words" if words is None else "tags"
        return rejected(record._replace(content=cell), f"the cell of {what} is not a list")
    if any(SURROGATE.search(str(item)) for item in (*words, *(tags or ()))):
        return rejected(record._replace(content=cell), "half of a surrogate pair")
    return record._replace(content=tuple(map(str, words)), tags=None if tags is None else tuple(tags))
