"""The head of a table: what separates its columns, their names, and whether the first row is data."""

import csv
import re
from collections.abc import Sequence

from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.table_names import TAGS, WORDS, is_known, is_one_of, is_sentence
from ner_lightning.data.schemes import is_tag
from ner_lightning.data.sentence import DataError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_LINE = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)


def separator_in(line: str) -> str | None:
    """What a first line such as `sep=;` says of those below, as Excel writes it; None of any other line."""
    match = _LINE.fullmatch(line)
    return match[1] if match else None


def delimiter_of(line: str, options: ReadOptions) -> str:
    """What separates the columns of a header: that by which most cells have a known name."""
    asked = {options.words_column, options.tags_column, options.document_column} - {None}

    def rank(delimiter: str) -> tuple[int, int]:
        cells = _cells(line, delimiter)
        return sum(cell in asked or is_known(cell) for cell in cells), len(cells)

    return max(_delimiters(line), key=rank)


def header_of(where: str, line: str, delimiter: str) -> list[str]:
    """The cells of the first row.

    Raises:
        DataError: it is no CSV.
    """
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise DataError(f"{where}: not CSV: {error}") from None


def is_data(where: str, header: Sequence[str], head: Sequence[Sequence[str]], options: ReadOptions) -> bool:
    """Whether the first row is data, not a header: a cell is a tag, as are others below it.

    Raises:
        DataError: it is, but no column is given by number.
    """
    asked = (options.words_column, options.tags_column, options.document_column)
    numbers = {int(name) for name in asked if name is not None and name.isdecimal() and name not in header}
    tags = options.tags_column
    for place, cell in enumerate(map(str.strip, header)):
        below = {row[place].strip() for row in head if len(row) == len(header)} - {""}
        is_own = tags is not None and tags.isdecimal() and int(tags) == place in numbers
        if (is_own and cell in below) or (is_tag(cell) and 0 < len(below) <= 2 * sum(map(is_tag, below))):
            if numbers:
                return True
            raise DataError(
                f"{where}: the first row is no header: {cell!r:.40} is a tag;\nadd one such as "
                "sentence_id,word,tag, or name columns by number, from 0, as data.files.words_column and "
                "tags_column (predict: --words_column)"
            )
    return False


def holds_table(line: str) -> bool:
    """Whether a line is a header that names sentences and words, or words and tags, with a delimiter."""
    for delimiter in _delimiters(line):
        names = _cells(line, delimiter)
        if len(names) > 1 and any(is_one_of(name, WORDS) for name in names):
            return any(is_sentence(name) or is_one_of(name, TAGS) for name in names)
    return False


def _delimiters(line: str) -> Sequence[str]:
    """What may separate columns: vertical bars only if nothing else does."""
    usual = [delimiter for delimiter in SEPARATORS if delimiter != "|"]
    return ["|"] if "|" in line and not any(delimiter in line for delimiter in usual) else usual


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.strip("\r\n").split(delimiter)]
