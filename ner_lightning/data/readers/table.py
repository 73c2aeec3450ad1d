"""Reads CSV: a word per row, or a text or a list of words per row; every error says file:line."""

import csv
import re
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import chain, islice
from typing import NamedTuple

from ner_lightning.data.readers.options import Opened, ReadOptions
from ner_lightning.data.readers.record import MAX_BYTES, Record, rejected
from ner_lightning.data.sentence import SURROGATE, DataError
from ner_lightning.system.progress import stage

CSV_SUFFIXES = (".csv",)
# Names that are used if no column is asked for; case is ignored.
WORDS = ("word", "token", "words", "tokens", "form")
TAGS = ("tag", "label", "ner_tag", "tags", "labels", "ner_tags", "ner", "entity")
SENTENCES = ("sentence", "sentence_id", "sentence #", "sentence_idx", "sent_id")
DOCUMENTS = ("document", "document_id", "document #", "doc_id", "doc")
TEXTS = ("text", "content", "data")
HEAD = 100  # rows by which it is recognised what the columns hold
_DELIMITERS = (",", ";", "\t")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|-?\d+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class TableLayout(NamedTuple):
    """What the columns of a table hold.

    Attributes:
        kind: whether a row is a `word`, a `text`, or a `list` of words.
        content: index of the column with it.
        tags: index of the column of tags; None if there is none or none is read.
        id: index of the column that is copied to predictions; None if there is none.
        document: index of the column that tells documents apart; None if there is none.
        borders: indices of the columns that change where a sentence ends; none: at blank rows.
    """

    kind: str
    content: int
    tags: int | None
    id: int | None
    document: int | None
    borders: tuple[int, ...]

    @classmethod
    def of(
        cls, where: str, header: Sequence[str], head: Sequence[Sequence[str]], options: ReadOptions
    ) -> "TableLayout":
        """Recognises the columns by the header and the first rows.

        Raises:
            DataError: there is no column with words or a text, or none with tags where they are wanted.
        """
        content = _column(where, header, options.words_column, "words", (*WORDS, *TEXTS))
        assert content is not None, "a column that is needed is found or refused"
        document = _column(where, header, options.document_column, "document", DOCUMENTS, needed=False)
        identity = _find(header, options.id_column)
        cells = [row[content] for row in head if len(row) == len(header) and row[content]]
        given = _find(header, *(TAGS if options.tags_column is None else (options.tags_column,)))
        lists = content if given is None or not options.tagged else given
        if _all_lists([row[lists] for row in head if len(row) == len(header)]):
            kind = "list"
        else:
            spaced = sum(len(cell.split()) > 1 for cell in cells)
            is_text = header[content].strip().lower() in TEXTS or 2 * spaced > len(cells)
            marks = _find(header, *SENTENCES, *TAGS) is not None or [] in map(_filled, head)
            named = options.words_column is None or header[content].strip().lower() in WORDS
            kind = "word" if not is_text and (marks or (named and options.tagged)) else "text"
        if kind == "text" and options.tagged:
            raise DataError(
                f"{where}: a row is a text (column {header[content]}), without a tag for each word;\n"
                "CSV needs a word per row, with columns such as sentence, word and tag"
            )
        tags = _column(where, header, options.tags_column, "tags", TAGS) if options.tagged else None
        sentence = _find(header, *SENTENCES)
        borders = tuple(i for i in (sentence, document) if i is not None and i not in (content, tags))
        if kind == "word" and not borders and [] not in map(_filled, head):
            raise DataError(
                f"{where}: nothing tells sentences apart (columns: {', '.join(header)});\n"
                f"add a column such as {SENTENCES[0]}, or a blank line after each sentence"
            )
        return cls(kind, content, tags, identity, document, borders if kind == "word" else ())


def read_table(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads a header and rows; columns are separated by commas, semicolons or tabs.

    A sentence of words ends where the cell of its column or that of its document changes, and an empty cell
    continues it, so sentence numbers may start again in each document. Without such columns it ends at a
    blank row.

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
        rows = _rows(csv.reader(text, delimiter=delimiter, strict=True), opened.source, header)
        head = list(islice(rows, HEAD))
        layout = TableLayout.of(f"{opened.source}:1", header, [row for _, row in head], options)
        named = f"{layout.kind}s in column {header[layout.content]}"
        if layout.tags is not None:
            named += f", tags in column {header[layout.tags]}"
        stage(f"{opened.source}: a table with {_SEPARATORS[delimiter]} between columns: {named}.")
        everything = chain(head, rows)
        if layout.kind == "word":
            yield from _sentences(everything, layout)
        else:
            yield from _texts(everything, layout)
    finally:
        text.detach()


def _rows(
    reader: Iterator[list[str]], source: str, header: Sequence[str]
) -> Iterator[tuple[Record, list[str]]]:
    """Rows with an empty record, which has the reason of one that cannot be used."""
    while True:
        begin = reader.line_num + 2  # type: ignore[attr-defined]
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield Record(source, begin, reason=f"not CSV: {error}"), []
            continue
        if row is None:
            return
        record = Record(source, begin)
        if row and len(row) != len(header):
            reason = f"{len(row)} columns where the header has {len(header)}"
            yield rejected(record._replace(content=",".join(row)), reason), row
        elif any(map(SURROGATE.search, row)):
            yield rejected(record._replace(content=",".join(row)), "bytes that are not UTF-8"), row
        else:
            yield record, row


def _texts(rows: Iterator[tuple[Record, list[str]]], layout: TableLayout) -> Iterator[Record]:
    """A record for each row."""
    previous: object = None
    for number, (record, row) in enumerate(rows):
        if record.reason or not _filled(row):
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
        words = tuple(map(str, _list(row[layout.content]) or row[layout.content].split()))
        tags = None if layout.tags is None else _list(row[layout.tags])
        if layout.tags is not None and tags is None:
            yield rejected(record._replace(content=row[layout.content]), "the cell of tags is not a list")
        elif words:
            yield record._replace(content=words, tags=None if tags is None else tuple(tags))


def _sentences(rows: Iterator[tuple[Record, list[str]]], layout: TableLayout) -> Iterator[Record]:
    """A record for each sentence of rows with a word each."""
    group: list[tuple[Record, list[str]]] = []
    current: list[str] = [""] * len(layout.borders)
    document: str | None = None
    starts = False
    for record, row in chain(rows, ((Record("", 0), []),)):
        blank = not record.reason and not _filled(row)
        if blank and record.source and layout.borders:
            continue
        cells = current
        if not blank and not record.reason:
            cells = [row[column] or before for column, before in zip(layout.borders, current, strict=True)]
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


def _sentence(group: Sequence[tuple[Record, list[str]]], layout: TableLayout) -> Record:
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


def _filled(row: Sequence[str]) -> list[str]:
    """The cells of a row that are not empty."""
    return [cell for cell in row if cell]


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


def _all_lists(cells: Sequence[str]) -> bool:
    """Whether there are cells, and all that are not empty are lists."""
    return any(cells) and all(_list(cell) is not None for cell in cells if cell)


def _list(cell: str) -> list[str | int] | None:
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
        if match is None:
            return None
        text = match[0]
        found.append(_ESCAPE.sub(r"\1", text[1:-1]) if text[0] in "'\"" else int(text))
        position = match.end()
    return found


def _column(
    where: str,
    header: Sequence[str],
    asked: str | None,
    what: str,
    names: Sequence[str],
    *,
    needed: bool = True,
) -> int | None:
    """Index of a column: the one that is asked for, or the first that has one of some names.

    Raises:
        DataError: there is none, and it is asked for or needed.
    """
    index = _find(header, *(names if asked is None else (asked,)))
    if index is None and asked is not None and asked.isdecimal() and int(asked) < len(header):
        return int(asked)
    if index is None and (needed or asked is not None):
        wanted, present = asked or " or ".join(names), ", ".join(header) or "none"
        raise DataError(
            f"{where}: no column {wanted} (columns: {present});\n"
            f"name it as data.files.{what}_column" + (" (predict: --words_column)" if what == "words" else "")
        )
    return index


def _find(header: Sequence[str], *names: str) -> int | None:
    """Index of the first of the named columns that is present, whatever its case."""
    known = [cell.strip().lower() for cell in header]
    return next((known.index(name.lower()) for name in names if name.lower() in known), None)
