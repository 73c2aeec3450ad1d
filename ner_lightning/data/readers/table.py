"""Reads CSV: a word per row, or a text or a list of words per row; every error says file:line."""

import csv
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import chain, islice, tee

from ner_lightning.data.readers.csv_rows import CheckedRow, checked_rows, parsed, parsed_by_line
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.readers.table_layout import (
    DOCUMENTS,
    SENTENCES,
    TAGS,
    TEXTS,
    WORDS,
    TableLayout,
    filled_cells,
    list_in,
)
from ner_lightning.data.readers.text_lines import MAX_BYTES
from ner_lightning.data.sentence import SURROGATE, DataError
from ner_lightning.system.progress import stage

CSV_SUFFIXES = (".csv",)
HEAD = 100  # rows by which it is recognised what the columns hold
_DELIMITERS = (",", ";", "\t")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def read_table(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads a header and rows; columns are separated by commas, semicolons or tabs.

    A sentence of words ends where the cell of its column or that of its document changes, and an empty cell
    continues it, so sentence numbers may start again in each document. Without a column of sentences it ends
    at a blank row, too.

    Args:
        opened: the file.
        options: name columns by the header's names.

    Raises:
        DataError: the header has no such column.
    """
    csv.field_size_limit(MAX_BYTES)
    text = TextIOWrapper(opened.file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        first = text.readline()
        delimiter = _delimiter(first, options)
        header = _header(f"{opened.source}:1", first, delimiter)
        lines, again = tee(text)
        rows = checked_rows(parsed(lines, delimiter), opened.source, header)
        head, unclosed = _first(rows)
        layout = TableLayout.of(f"{opened.source}:1", header, [row for _, row in head], options)
        if unclosed is not None and layout.kind != "word":  # where a lone quote is a word
            raise unclosed
        named = f"{layout.kind}s in column {header[layout.content]}"
        if layout.tags is not None:
            named += f", tags in column {header[layout.tags]}"
        stage(f"{opened.source}: a table with {_SEPARATORS[delimiter]} between columns: {named}.")
        if layout.kind == "word":
            by_line = parsed_by_line(again, delimiter, len(header), layout.content)
            rows = checked_rows(by_line, opened.source, header)
            yield from _sentences(rows, layout)
        else:
            del again  # or it would keep all lines
            yield from _texts(chain(head, rows), layout)
    finally:
        text.detach()


def _first(rows: Iterator[CheckedRow]) -> tuple[list[CheckedRow], DataError | None]:
    """The rows by which a table is recognised, up to a quote that is not closed."""
    head: list[CheckedRow] = []
    try:
        for row in islice(rows, HEAD):
            head.append(row)
    except DataError as error:
        return head, error
    return head, None


def _texts(rows: Iterator[CheckedRow], layout: TableLayout) -> Iterator[Record]:
    """A record for each row."""
    previous: object = None
    for number, (record, row) in enumerate(rows):
        if record.reason or not filled_cells(row):
            if record.reason:
                yield record
            continue
        document = None if layout.document is None else row[layout.document] or previous
        starts = (layout.document is None and layout.kind == "text") or (number == 0 or document != previous)
        previous = document
        record = record._replace(
            id=None if layout.id is None else row[layout.id], starts_document=starts, document=document
        )
        if layout.kind == "text":
            yield record._replace(content=row[layout.content])
            continue
        yield _of_lists(record, row, layout)


def _of_lists(record: Record, row: Sequence[str], layout: TableLayout) -> Record:
    """A sentence whose words or tags are lists in cells."""
    cell = row[layout.content]
    is_list = layout.has_lists or cell.lstrip().startswith(("['", '["'))
    words = list_in(cell) if is_list else cell.split()
    tags = None if layout.tags is None else list_in(row[layout.tags])
    if words is None or (layout.tags is not None and tags is None):
        what = "words" if words is None else "tags"
        return rejected(record._replace(content=cell), f"the cell of {what} is not a list")
    if any(SURROGATE.search(str(item)) for item in (*words, *(tags or ()))):
        return rejected(record._replace(content=cell), "half of a surrogate pair")
    return record._replace(content=tuple(map(str, words)), tags=None if tags is None else tuple(tags))


def _sentences(rows: Iterator[CheckedRow], layout: TableLayout) -> Iterator[Record]:
    """A record for each sentence of rows with a word each."""
    group: list[CheckedRow] = []
    current: list[str] = [""] * len(layout.borders)
    document: str | None = None
    starts = False
    for record, row in chain(rows, ((Record("", 0), []),)):
        blank = not record.reason and not filled_cells(row)
        if blank and record.source and layout.has_sentences:
            continue
        cells = current
        if not blank:  # a row that cannot be used belongs to the sentence that its cells name, if it has them
            own = [row[column] if column < len(row) else "" for column in layout.borders]
            cells = [cell or before for cell, before in zip(own, current, strict=True)]
        if group and (blank or cells != current):
            yield _sentence(group, layout)._replace(document=document, starts_document=starts)
            group, starts = [], False
        if blank:
            continue
        current = cells
        if layout.document is not None and not record.reason and row[layout.document]:
            starts = starts or (not group and row[layout.document] != document)
            document = row[layout.document]
        group.append((record, row))


def _sentence(group: Sequence[CheckedRow], layout: TableLayout) -> Record:
    for record, _ in group:
        if record.reason:
            return record
    words = tuple(row[layout.content] for _, row in group)
    tags = None if layout.tags is None else tuple(row[layout.tags] for _, row in group)
    first, row = group[0]
    identity = None if layout.id is None else row[layout.id]
    return first._replace(
        content=words, tags=tags, id=identity, lines=tuple(record.line for record, _ in group)
    )


def _delimiter(line: str, options: ReadOptions) -> str:
    """What separates the columns of a header: that by which most cells have a known name."""
    asked = {options.words_column, options.tags_column, options.document_column} - {None}
    known = {*WORDS, *TAGS, *SENTENCES, *DOCUMENTS, *TEXTS}

    def rank(delimiter: str) -> tuple[int, int]:
        cells = [cell.strip().strip('"') for cell in line.strip("\r\n").split(delimiter)]
        return sum(cell in asked or cell.lower() in known for cell in cells), len(cells)

    return max(_DELIMITERS, key=rank)


def _header(where: str, line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise DataError(f"{where}: not CSV: {error}") from None


def holds_table(line: str) -> bool:
    """Whether a line is a header that names sentences and words, or words and tags, with a delimiter."""
    for delimiter in _DELIMITERS:
        names = {cell.strip().strip('"').lower() for cell in line.split(delimiter)}
        if len(names) > 1 and not names.isdisjoint(WORDS):
            return not names.isdisjoint((*SENTENCES, *TAGS))
    return False
