"""Rows of CSV with their lines; what is wrong with one is said, and the others are read."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.sentence import SURROGATE, DataError

_MARK = "\ufeff"  # a byte order mark
UNCLOSED = "unexpected end of data"  # what csv says of a quote that takes up the rest of a file
_CR = "\udc0d"  # stands for a CR within a line; no byte that is not UTF-8 is decoded to it
Parsed = tuple[int, list[str] | csv.Error]  # the line where a row begins, and its cells or what is wrong
CheckedRow = tuple[Record, list[str]]  # an empty record, which has the reason of a row that is not used


def whole_lines(lines: Iterable[str], header: str) -> Iterator[str]:
    """The lines below a header, of which a CR alone ends none unless it ends the header.

    Within a line, where csv would end the row, another character stands for it up to `checked_rows`.
    """
    if header.endswith("\r"):
        yield from lines
        return
    parts: list[str] = []
    for line in lines:
        if line.endswith("\r"):
            parts.append(line[:-1])
        else:
            yield _CR.join([*parts, line])
            parts = []
    if parts:
        yield _CR.join(parts)


def parsed(lines: Iterable[str], delimiter: str, first: int) -> Iterator[Parsed]:
    """Rows of CSV; `first` is the number of the first line.

    A byte order mark at the start of a row is left out: files that were joined have one in the middle.
    """
    begins = True  # whether a row does, in the next line

    def unmarked() -> Iterator[str]:
        nonlocal begins
        for line in lines:
            text, begins = line.removeprefix(_MARK) if begins else line, False
            yield text

    reader = csv.reader(unmarked(), delimiter=delimiter, strict=True)
    while True:
        begin, begins = reader.line_num + first, True
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield begin, error
            continue
        if row is None:
            return
        yield begin, row


def parsed_by_line(
    lines: Iterable[str], delimiter: str, columns: int, words: int, first: int
) -> Iterator[Parsed]:
    """Rows with a word each, in which a lone quote is a word.

    Tools that write columns without quoting write `"` so, and a reader of CSV would take the sentence between
    two of them for one word.

    Args:
        lines: the lines of the rows.
        delimiter: between cells.
        columns: how many there are.
        words: the column of words.
        first: the number of the first line.
    """
    rest = iter(lines)
    number = first
    for line in (each.removeprefix(_MARK) for each in rest):
        bare = line.rstrip("\r\n")
        cells = bare.split(delimiter) if bare else []
        row: list[str] | csv.Error = cells
        length = 1
        lone = len(cells) == columns and all(cell == '"' for cell in cells if '"' in cell)
        if '"' in line and not lone:
            row, length = _first_row(chain([line], rest), delimiter)
            word = "" if isinstance(row, csv.Error) else "".join(row[words : words + 1])
            if "\n" in word and _holds_rows(word.split("\n"), delimiter, columns, words):
                row = csv.Error("a quote opens a word and does not close it")
        yield number, row
        number += length


def _holds_rows(lines: Sequence[str], delimiter: str, columns: int, words: int) -> bool:
    """Whether lines are the rest of a row from its word on, whole rows, and the beginning of a row."""
    return lines[0].count(delimiter) == columns - 1 - words and lines[-1].count(delimiter) == words


def _first_row(lines: Iterable[str], delimiter: str) -> tuple[list[str] | csv.Error, int]:
    """The first row of CSV or what is wrong with it, and how many lines it takes."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        return next(reader, []), reader.line_num
    except csv.Error as error:
        return error, reader.line_num


def checked_rows(parsed: Iterable[Parsed], source: str, header: Sequence[str]) -> Iterator[CheckedRow]:
    """Rows with an empty record, which has the reason of one that cannot be used.

    Raises:
        DataError: a quote takes up the rest of the file.
    """
    for begin, row in parsed:
        if isinstance(row, csv.Error):
            if str(row) == UNCLOSED:
                raise DataError(
                    f"{source}:{begin}: a quote opens in this row and is not closed, so that nothing after "
                    "it can be read;\nclose it, or write a quote within a text as two"
                )
            yield Record(source, begin, reason=f"not CSV: {row}"), []
            continue
        row = [cell.replace(_CR, "\r") for cell in row]
        record = Record(source, begin)
        if row and len(row) != len(header):
            reason = f"{len(row)} columns where the header has {len(header)}"
            yield rejected(record._replace(content=",".join(row)), reason), row
        elif any(map(SURROGATE.search, row)):
            yield rejected(record._replace(content=",".join(row)), "bytes that are not UTF-8"), row
        else:
            yield record, row
