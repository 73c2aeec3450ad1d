"""ColumnLayout: which column of a CoNLL file holds words and tags, and which rows are comments."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ner_lightning.data.readers.table import TAGS, WORDS
from ner_lightning.data.schemes import OUTSIDE, is_tag, split_tag
from ner_lightning.data.sentence import DataError, check_word
from ner_lightning.errors import UserError
from ner_lightning.system import progress

DOCSTART = "-DOCSTART-"
_HASH = "#"
_INDEX = re.compile(r"(\d+)([-.]\d+)?")  # with the second part, a multi-word or empty token of CoNLL-U
# Types of phrases in CoNLL-2000 and CoNLL-2003, whose column of chunks precedes the one of entities.
_PHRASES = {"ADJP", "ADVP", "CONJP", "INTJ", "LST", "NC", "NP", "PC", "PP", "PRT", "SBAR", "UCP", "VC", "VP"}
_NUMBER = re.compile(r"\d+(\.\d+)?(e-?\d+)?")


class ColumnLayout(NamedTuple):
    """The columns to read, and the shape of a CoNLL file's first row.

    Attributes:
        word: index of the column of words.
        tag: index of the column of tags; None if they are not read.
        line: line number of the first row.
        width: number of columns.
        ends_in_tags: whether the last column holds tags, read or not.
        numbered: whether the first column numbers the words of each sentence.
    """

    word: int
    tag: int | None
    line: int
    width: int
    ends_in_tags: bool
    numbered: bool

    @classmethod
    def of(
        cls,
        path: str | Path,
        rows: Sequence[list[str]],
        word: int | None = None,
        tag: int | None = None,
        *,
        tagged: bool = True,
    ) -> "ColumnLayout":
        """Recognises the layout from the first rows of a file, or from all.

        Args:
            path: the file, for messages.
            rows: the cells of each line.
            word: the column of words; None takes the first, or the second if the first is an index.
            tag: the column of tags; None takes the last, which must be the only one.
            tagged: whether tags are read.

        Raises:
            DataError: there are too few columns, two of tags, or a header.
        """
        # A row that begins with # may be a comment, so it is used only if there is no other.
        candidates = [
            (row[0].startswith(_HASH), line, len(row))
            for line, row in enumerate(rows, start=1)
            if row and row[0] != DOCSTART
            if not row[0].startswith(_HASH) or not tagged or is_tag(row[-1])
        ]
        hashed, line, width = min(candidates, default=(False, 1, 0))
        full = [row for row in rows if row and len(row) == width and row[0] != DOCSTART]
        full = full if hashed else [row for row in full if not row[0].startswith(_HASH)]
        ends_in_tags = width > 1 and all(is_tag(row[-1]) for row in full)
        numbered = word is None and width > 1 + (tagged or ends_in_tags) and _numbers_words(rows, width)
        if numbered:
            progress.stage(f"{path}: column 0 numbers the words; words are read from column 1.")
        columns = {"words": int(numbered) if word is None else word}
        if tagged:
            columns["tags"] = -1 if tag is None else tag
        if candidates and len({i % width for i in columns.values() if -width <= i < width}) < len(columns):
            wanted = " and ".join(f"{name} are in column {i}" for name, i in columns.items())
            raise DataError(
                f"{path}:{line}: too few columns: {width}, but {wanted}; separate columns by spaces or tabs"
            )
        if full and (problem := _misread(full, columns["words"], last=tagged and tag is None)):
            raise DataError(f"{path}:{line}: {problem}")
        return cls(columns["words"], columns.get("tags"), line, width, ends_in_tags, numbered)

    def is_comment(self, row: list[str]) -> bool:
        """Whether a row where a sentence could begin is a comment."""
        fits = len(row) == self.width
        if not row[0].startswith(_HASH):
            return False
        tag = self.tag if self.tag is not None or not self.ends_in_tags else -1
        if tag is None or (row[0] == _HASH and not fits):
            return not fits
        return not is_tag(row[tag if fits else -1])

    def cells(self, row: list[str], line: str) -> tuple[str, str]:
        """The word and the tag of a row.

        Args:
            row: its cells.
            line: the line as it was read.

        Raises:
            UserError: its width differs from the first row's, or word or tag is malformed.
        """
        if (problem := self._separator_problem(line)) is not None:
            raise UserError(problem)
        if len(row) != self.width:
            raise UserError(
                f"{len(row)} columns where line {self.line} has {self.width}; "
                "write the same number in all rows"
            )
        if self.numbered and not row[0].isdecimal():
            raise UserError(f"row {row[0]} spans several words, which have rows of their own; remove it")
        tag = OUTSIDE if self.tag is None else row[self.tag]
        split_tag(tag)
        return check_word(row[self.word]), tag

    def _separator_problem(self, line: str) -> str | None:
        """What is wrong with how a line separates columns; None if nothing is."""
        if "\r" in line:
            return "a carriage return within the row; end rows with LF or CRLF"
        if "\t" not in line:
            return None
        cells = [cell.strip(" ") for cell in line.split("\t")]
        if len(columns_of(line)) < self.width and "" in cells:
            index = cells.index("")
            what = "the word" if index == self.word else f"column {index}"
            return f"{what} is empty; remove the row or write a placeholder such as _"
        if [index for index, cell in enumerate(cells) if " " in cell] == [self.word]:
            return (
                f"{cells[self.word]!a:.40} contains a space, but columns are separated by tabs; "
                "write _ for the space, or use the same separator between all columns"
            )
        return None


def columns_of(line: str) -> list[str]:
    """The cells of a row; none on a blank line."""
    # Not split(), which also splits at U+00A0 and similar characters: those occur inside words.
    cells = [] if line.isspace() else line.replace("\t", " ").split(" ")
    return [cell for cell in cells if cell]


def holds_columns(lines: Iterable[str]) -> bool:
    """Whether lines are rows of one width with a tag in the last cell, not running text."""
    rows = [row for row in map(columns_of, lines) if row and row[0] != DOCSTART and row[0][0] != _HASH]
    return (
        len(rows) > 1
        and len(rows[0]) > 1
        and all(len(row) == len(rows[0]) and is_tag(row[-1]) for row in rows)
    )


def ends_in_scores(lines: Iterable[str]) -> bool:
    """Whether each row is word, two tags and a number, as flair writes its predictions."""
    rows = [row for row in map(columns_of, lines) if row and row[0] != DOCSTART]
    return bool(rows) and all(
        len(row) > 3 and _NUMBER.fullmatch(row[-1]) and is_tag(row[-2]) and is_tag(row[-3]) for row in rows
    )


def _numbers_words(rows: Iterable[list[str]], width: int) -> bool:
    """Whether the first column numbers the words of each sentence from 0 or 1, and some have several."""
    before, several = -1, False
    for row in rows:
        if not row or row[0] == DOCSTART:
            before = -1
            continue
        index = _INDEX.fullmatch(row[0])
        if len(row) != width or index is None:
            if row[0].startswith(_HASH) and before < 0:
                continue
            return False
        if index[2]:
            continue
        number = int(index[1])
        if number != before + 1 and (before, number) != (-1, 1):
            return False
        several = several or before >= 0
        before = number
    return several


def _other_tags(rows: Sequence[list[str]], word: int) -> int | None:
    """Index of another column of entity tags than the last; None if there is none."""
    width = len(rows[0])
    for column in range(width - 1):
        if column == word % width or not all(is_tag(row[column]) for row in rows):
            continue
        if {split_tag(row[column])[1] for row in rows} - {"", *_PHRASES}:
            return column
    return None


def _misread(rows: Sequence[list[str]], word: int, *, last: bool) -> str | None:
    """The problem if the first row is a header, or if there are two columns of tags; None if neither."""
    names = [cell.lower() for cell in rows[0]]
    if len(names) > 1 and names[word] in WORDS and names[-1] in TAGS:
        return f"this is a header ({' '.join(rows[0])}); remove the line"
    other = _other_tags(rows, word) if last else None
    if other is None:
        return None
    return (
        f"columns {other} and {len(names) - 1} both contain tags (the first is column 0);\n"
        "name one as data.files.tags_column, or leave the other out of the file"
    )
