"""Reads CSV with one word per row, with its sentence and tag; every error says file:line."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from ner_lightning.data.sentence import DataError, Sentence, check_sentence, in_bio2, read_lines
from ner_lightning.errors import UserError

CSV_SUFFIXES = (".csv",)
# Names used if the header lacks the requested one; case is ignored.
WORDS = ("word", "token", "words", "tokens")
TAGS = ("tag", "label", "ner_tag", "tags", "labels", "ner_tags")
SENTENCES = ("sentence", "sentence_id", "sentence #")
DOCUMENTS = ("document", "document_id", "document #")


def read_csv(
    path: str | Path,
    *,
    words_field: str = "word",
    tags_field: str = "tag",
    document_field: str = "document",
    tagged: bool = True,
) -> list[Sentence]:
    """Reads a header and one word per row; columns are separated by commas, or else by semicolons.

    A sentence ends where the cell of its column or that of its document changes; an empty cell continues
    it, so sentence numbers may start again in each document.

    Args:
        path: a UTF-8 file; empty lines are skipped.
        words_field: column of words; if absent, one of `WORDS`.
        tags_field: column of tags; if absent, one of `TAGS`.
        document_field: column whose value all sentences of a document share; if absent, one of `DOCUMENTS`
            or none.
        tagged: whether to read tags at all.

    Raises:
        DataError: the file is missing, not UTF-8 or malformed, or lacks a column.
    """
    rows = _rows(path)
    _, header = next(rows, (1, []))
    word = _column(path, header, words_field, *WORDS)
    tag = _column(path, header, tags_field, *TAGS) if tagged else None
    document = _find(header, document_field, *DOCUMENTS)
    sentences: list[Sentence] = []
    documents: dict[str | None, int] = {}
    name: str | None = None  # of the document
    borders = [_column(path, header, *SENTENCES), *([] if document is None else [document])]
    for line, group in _groups(path, rows, borders, len(header)):
        words = tuple(row[word] for row in group)
        tags = None if tag is None else tuple(row[tag] for row in group)
        try:
            check_sentence(words, tags)
        except UserError as error:
            raise DataError(f"{path}:{line}: {error}, in the sentence that begins here") from None
        name = None if document is None else group[0][document] or name
        sentences.append(Sentence(words, tags, documents.setdefault(name, len(documents))))
    return in_bio2(path, sentences)


def _groups(
    path: str | Path, rows: Iterator[tuple[int, list[str]]], borders: Sequence[int], width: int
) -> Iterator[tuple[int, list[list[str]]]]:
    """The rows of each sentence, with the line of the first; it ends where a cell of `borders` changes."""
    group: list[list[str]] = []
    first, current = 0, [""] * len(borders)
    for line, row in rows:
        if len(row) != width:
            raise DataError(f"{path}:{line}: {len(row)} columns where the header has {width}")
        cells = [row[column] or before for column, before in zip(borders, current, strict=True)]
        if group and cells != current:
            yield first, group
            group = []
        first = first if group else line
        current = cells
        group.append(row)
    if group:
        yield first, group


def _rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Non-empty rows, with the line on which each ends."""
    lines = read_lines(path)
    delimiter = ";" if ";" in lines[0] and "," not in lines[0] else ","
    rows = csv.reader([f"{line}\n" for line in lines], delimiter=delimiter, strict=True)
    try:
        for row in rows:
            if row:
                yield rows.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num}: not CSV: {error}") from None


def _column(path: str | Path, header: Sequence[str], *names: str) -> int:
    index = _find(header, *names)
    if index is None:
        wanted, present = " or ".join(dict.fromkeys(names)), ", ".join(header) or "none"
        raise DataError(
            f"{path}:1: no column {wanted} (columns: {present});\n"
            "CSV must have one word per row, with columns such as sentence, word and tag"
        )
    return index


def _find(header: Sequence[str], *names: str) -> int | None:
    """Index of the first of the named columns that is present, whatever its case."""
    known = [cell.strip().lower() for cell in header]
    return next((known.index(name.lower()) for name in names if name.lower() in known), None)
