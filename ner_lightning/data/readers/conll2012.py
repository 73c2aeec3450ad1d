"""Reads the columns of CoNLL-2012 and OntoNotes, whose named entities are brackets: `(PERSON*`, `*)`."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.readers.text_lines import Line, lines
from ner_lightning.data.readers.word_spans import with_spans
from ner_lightning.data.schemes import Span
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError

WORDS, ENTITIES = 3, 10  # columns, from 0
_NUMBER = 2  # column of the word's number
_BEGIN, _END = "#begin document", "#end document"
_NAME = re.compile(r"#begin document\s+\((.*)\)(?:;\s*(part\s+\d+))?\s*")
_CELL = re.compile(r"((?:\([^()*\s]+)*)\*?(\)*)")


def is_conll2012(lines: Sequence[str]) -> bool:
    """Whether a file is CoNLL-2012: `#begin document (`, then a row with brackets in its eleventh column.

    Args:
        lines: the first lines of the file.
    """
    begun = False
    for line in lines:
        if line.startswith("#") or not line.strip():
            begun = begun or line.startswith(f"{_BEGIN} (")
            continue
        cells = _cells(line)
        return (
            begun
            and len(cells) > ENTITIES
            and cells[_NUMBER].isdecimal()
            and _CELL.fullmatch(cells[ENTITIES]) is not None
        )
    return False


def read_conll2012(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads sentences, each document with its name and part.

    Args:
        opened: a UTF-8 file.
        options: how it is read; `words_column` and `tags_column` are numbers from 0.

    Yields:
        A record of words with BIO2 tags for each sentence; one of its text if entities overlap.

    Raises:
        DataError: a column is not named by its number.
    """
    words = _column(opened.source, "words_column", options.words_column, WORDS)
    entities = _column(opened.source, "tags_column", options.tags_column, ENTITIES)
    rows: list[Line] = []
    document: str | None = None
    starts = True
    for line in chain(lines(opened.file), [Line(0, "")]):
        is_comment = line.text.startswith((_BEGIN, _END))
        if line.reason or (line.text.strip() and not is_comment):
            rows.append(line)
            continue
        if rows:
            record = Record(opened.source, rows[0].number, starts_document=starts, document=document)
            yield _sentence(record, rows, words, entities if options.tagged else None)
            rows, starts = [], False
        if line.text.startswith(_BEGIN):
            name = _NAME.fullmatch(line.text)
            starts, document = True, line.text[len(_BEGIN) :].strip()
            if name is not None:
                document = " ".join(filter(None, name.groups()))


def _column(source: str, name: str, given: str | None, default: int) -> int:
    """The number of a column.

    Raises:
        DataError: it is not a number.
    """
    if given is None:
        return default
    if not re.fullmatch(r"\d{1,4}", given, re.ASCII):
        raise DataError(
            f"{source}:1: CoNLL-2012 has no column {given!r:.40}; give data.files.{name} a number from 0"
        )
    return int(given)


def _cells(line: str) -> list[str]:
    # Not split(), which also splits at the spaces that occur inside words, such as U+00A0.
    return re.split(r"[ \t]+", line.strip(" \t"))


def _sentence(record: Record, rows: Sequence[Line], words: int, entities: int | None) -> Record:
    """A sentence from its rows, with its entities unless their column is None."""
    content: list[str] = []
    marks: list[str] = []
    needed = max(words, -1 if entities is None else entities) + 1
    width = len(_cells(rows[0].text))
    line = rows[0]
    try:
        for line in rows:
            cells = _cells(line.text)
            if line.reason:
                raise UserError(line.reason)
            if len(cells) < needed:
                raise UserError(f"{len(cells)} columns, but column {needed - 1} (from 0) is read")
            if len(cells) != width:
                raise UserError(f"{len(cells)} columns where the sentence began with {width}")
            content.append(cells[words])
            if entities is not None:
                marks.append(cells[entities])
                if _CELL.fullmatch(marks[-1]) is None and marks[-1] not in ("-", "_"):
                    raise UserError(
                        f"{marks[-1]!r:.40} is no entity of CoNLL-2012, such as (PERSON*, *, *) or (GPE)"
                    )
        record = record._replace(content=tuple(content), lines=tuple(row.number for row in rows))
        return record if entities is None else with_spans(record, content, _spans(marks))
    except UserError as error:
        return rejected(record._replace(line=line.number, content=line.text), str(error))


def _spans(marks: Sequence[str]) -> list[Span]:
    """The entities that brackets mark, in the order in which they begin.

    Raises:
        UserError: a bracket does not match.
    """
    begun: list[tuple[str, int]] = []
    open_: list[int] = []  # those of `begun` that have not ended
    ends: dict[int, int] = {}
    for index, mark in enumerate(marks):
        match = _CELL.fullmatch(mark)
        if match is None:  # a hyphen
            continue
        for type_ in match[1].split("(")[1:]:
            open_.append(len(begun))
            begun.append((type_, index))
        for _ in match[2]:
            if not open_:
                raise UserError(f"word {index + 1} ends an entity that does not begin in the sentence")
            ends[open_.pop()] = index + 1
    if open_:
        type_, start = begun[open_[0]]
        raise UserError(f"the entity {type_} at word {start + 1} does not end in its sentence")
    return [Span(type_, start, ends[number]) for number, (type_, start) in enumerate(begun)]
