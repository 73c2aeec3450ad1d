"""ColumnLayout: which column of a CoNLL file holds words and tags, and which rows are comments."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ner_lightning.data.readers.column_cells import DOCEND, DOCSTART, cells_of, separated_by_tabs
from ner_lightning.data.readers.column_kinds import (
    TAG_KINDS,
    check_ends,
    columns_from,
    tag_column,
    word_column,
)
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.table_names import TAGS, WORDS
from ner_lightning.data.schemes import UNKNOWN, is_tag
from ner_lightning.data.sentence import DataError
from ner_lightning.data.tags.tag_forms import OUTSIDES, TagForm
from ner_lightning.errors import UserError

_HASH = "#"
_ODD = re.compile(r"[^\S \t\n]")  # white space of other kinds
_COLUMN = re.compile(r"-?\d+")
_OPTIONS = {"words": "words_column", "tags": "tags_column", "documents": "document_column"}


class ColumnLayout(NamedTuple):
    """The columns to read, and the shape of a CoNLL file's rows.

    Attributes:
        word: index of the column of words.
        tag: index of the column of tags; None if there is none.
        document: index of the column that tells documents apart; None if there is none.
        tabs: whether columns are separated by tabs alone; otherwise by spaces and tabs.
        width: number of columns.
        line: line number of the first row.
        header: line number of the header; 0 without one.
        counted: index of a column that counts the words of each sentence; None if there is none.
        tags: the cells of the column of tags that are tags, among the first rows.
        has_plain_tags: whether they are all written as B-PER is.
    """

    word: int
    tag: int | None
    document: int | None
    tabs: bool
    width: int
    line: int
    header: int
    counted: int | None
    tags: frozenset[str] = frozenset()
    has_plain_tags: bool = True

    @classmethod
    def of(cls, source: str, texts: Sequence[str], options: ReadOptions) -> "ColumnLayout":
        """Recognises the layout from the first lines of a file, or from all.

        Args:
            source: the file, for messages.
            texts: the lines.
            options: name columns, by number or by a header's name; whether tags are read.

        Raises:
            DataError: there are too few columns, or it is not certain which holds words or tags.
        """
        tabs = separated_by_tabs(texts)
        rows = [cells_of(text, tabs=tabs) for text in texts]
        data = _data_rows(rows)
        if not data:
            return cls(0, None, None, tabs, 1, 1, 0, None)
        first, names = data[0], rows[data[0]]
        width = len(names)
        header = first + 1 if _is_header(names, [rows[at] for at in data[1:]], options) else 0
        found = columns_from(_sentences(rows, set(data[bool(header) :]), width), width)
        where = f"{source}:{first + 1}"
        asked = {
            what: _asked(getattr(options, option), option, names if header else None, width, where)
            for what, option in _OPTIONS.items()
            if options.tagged or what != "tags"
        }
        if header:
            asked |= _named(asked, names)
        try:
            tag = asked.get("tags")
            if tag is None:
                tag = tag_column(found, asked["words"], wanted=options.tagged)
            document, word = asked["documents"], asked["words"]
            if word is None:
                word = word_column(found, tag, document)
            check_ends(found, word, document)
        except UserError as error:
            raise DataError(f"{where}: {error}") from None
        if options.tagged and (tag is None or tag == word):
            raise DataError(
                f"{where}: too few columns: {width}, but both words and tags are needed; "
                "separate columns by spaces or tabs"
            )
        counted = next((c.place for c in found if c.counts and c.place != word), None)
        layout = cls(word, tag, document, tabs, width, first + 1, header, counted)
        if tag is None or found[tag].kind not in TAG_KINDS:
            return layout
        form = TagForm.of(found[tag].cells, first_of_several=True)
        tags = frozenset(form.tags) | {*OUTSIDES, UNKNOWN}
        return layout._replace(tags=tags, has_plain_tags=form.kind in ("plain", "none"))

    def describe(self, *, tagged: bool) -> str:
        """How the file is read, for the user."""
        parts = [f"words in column {self.word}"]
        if tagged and self.tag is not None:
            parts.append(f"tags in column {self.tag}")
        if self.document is not None:
            parts.append(f"documents in column {self.document}, whose changes end sentences")
        separator = "tabs" if self.tabs else "spaces"
        header = ", below a header" if self.header else ""
        first = " (the first is 0)" if self.width > 1 else ""
        return f"CoNLL columns separated by {separator}{header}: {', '.join(parts)}{first}"

    def is_comment(self, text: str) -> bool:
        """Whether a line where a sentence could begin is a comment."""
        row = cells_of(text, tabs=self.tabs)
        if not row or not row[0].startswith(_HASH):
            return False
        fits = len(row) == self.width
        if self.tag is None or (row[0] == _HASH and not fits):
            return not fits
        cell = row[self.tag if fits else -1]
        if is_tag(cell) or cell in self.tags:
            return False
        # A type that is written without B- may not have occurred among the first rows.
        return self.has_plain_tags or not fits or row[0] == _HASH

    def is_plain(self, text: str) -> bool:
        """Whether each of some lines is a row without anything odd, by which `plain_cells` may split them."""
        between, other = ("\t", " ") if self.tabs else (" ", "\t")
        whole = f"\n{text}\n"
        if text[0] in "#-" or self.width < 2 or self.counted is not None or _ODD.search(text):
            return False
        marks = (f"\n{DOCSTART}", f"\n{DOCEND}")
        if any(part in whole for part in (other, between * 2, f"\n{between}", f"{between}\n", *marks)):
            return False
        return {row.count(between) for row in text.split("\n")} == {self.width - 1}

    def is_one_document(self, text: str) -> bool:
        """Whether rows that are plain belong to one document."""
        return self.document is None or len({*self.plain_cells(text)[self.document :: self.width]}) == 1

    def is_other_document(self, first: str, text: str) -> bool:
        """Whether a row belongs to another document than the first of a sentence; an empty cell does not."""
        if self.document is None:
            return False
        cells = [cells_of(row, tabs=self.tabs)[self.document : self.document + 1] for row in (first, text)]
        return any(cells[1]) and cells[0] != cells[1]

    def plain_cells(self, text: str) -> list[str]:
        """The cells of rows that are plain, one row after the other."""
        between = "\t" if self.tabs else " "
        return text.replace("\n", between).split(between)

    def problem(self, text: str) -> str | None:
        """What is wrong with the shape of a row; None if nothing is."""
        row = cells_of(text, tabs=self.tabs)
        if "\r" in text:
            return "a carriage return within the row; end rows with LF or CRLF"
        if len(row) != self.width:
            how = "separated by tabs" if self.tabs else "separated by spaces"
            hint = ""
            if not self.tabs and "\t" in text and "" in (cell.strip() for cell in text.split("\t")):
                hint = "; a cell is empty: remove the row or write a placeholder such as _"
            return (
                f"{len(row)} columns {how} where line {self.line} has {self.width}; "
                f"write the same number in all rows{hint}"
            )
        if self.counted is not None and not row[self.counted].isdecimal():
            return f"row {row[self.counted]} spans several words, which have rows of their own; remove it"
        return None


def _data_rows(rows: Sequence[list[str]]) -> list[int]:
    """The indices of the rows that are no comments, or of those that begin with # if there are no others."""
    filled = [index for index, row in enumerate(rows) if row and row[0] != DOCSTART]
    plain = [index for index in filled if not rows[index][0].startswith(_HASH)]
    if plain:
        width = len(rows[plain[0]])
        return [index for index in plain if len(rows[index]) == width]
    tagged = [index for index in filled if len(rows[index]) > 1 and is_tag(rows[index][-1])]
    return [index for index in tagged if len(rows[index]) == len(rows[tagged[0]])]


def _sentences(rows: Sequence[list[str]], data: set[int], width: int) -> list[list[list[str]]]:
    """The rows of each sentence."""
    sentences: list[list[list[str]]] = [[]]
    for index, row in enumerate(rows):
        if not row or row[0] == DOCSTART:
            if sentences[-1]:
                sentences.append([])
        elif index in data and len(row) == width:
            sentences[-1].append(row)
    return [sentence for sentence in sentences if sentence]


def _is_header(names: Sequence[str], below: Sequence[Sequence[str]], options: ReadOptions) -> bool:
    """Whether the first row names the columns."""
    lower = [name.lower() for name in names]
    asked = [getattr(options, option) for option in _OPTIONS.values()]
    if any(name is not None and not _COLUMN.fullmatch(name) and name in names for name in asked):
        return True
    if len(names) < 2 or set(WORDS).isdisjoint(lower):
        return False
    if not set(TAGS).isdisjoint(lower):
        return True
    return not any(name == row[at] or is_tag(name) for row in below for at, name in enumerate(names))


def _named(asked: dict[str, int | None], names: Sequence[str]) -> dict[str, int | None]:
    """The columns of words and tags that a header names, where no others are asked for."""
    lower = [name.lower() for name in names]
    known = {"words": WORDS, "tags": TAGS}
    return {
        what: next((lower.index(name) for name in lower if name in wanted), None)
        for what, wanted in known.items()
        if asked.get(what) is None and sum(name in wanted for name in lower) == 1
    }


def _asked(value: str | None, option: str, names: Sequence[str] | None, width: int, where: str) -> int | None:
    """The index of a column that an option names.

    Raises:
        DataError: there is none.
    """
    if value is None:
        return None
    if names is not None and value in names:
        return names.index(value)
    if _COLUMN.fullmatch(value):
        if -width <= int(value) < width:
            return int(value) % width
        raise DataError(
            f"{where}: too few columns: {width}, but data.files.{option} is {value}; "
            "separate columns by spaces or tabs"
        )
    what = f"the header names {', '.join(names)}" if names else "the columns have no header"
    raise DataError(f"{where}: data.files.{option} is {value}, but {what}; give the column's number, from 0")
