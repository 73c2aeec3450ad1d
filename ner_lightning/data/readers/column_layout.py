"""The layout of CoNLL columns: which column holds words, which tags, and what is no row of data."""

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
_INDEX = re.compile(r"(\d+)([-.]\d+)?")  # with the second part, a row of CoNLL-U that is no word
# Types of phrases, as in CoNLL-2000 and CoNLL-2003: a column of them stands beside the one of entities.
_PHRASES = {"ADJP", "ADVP", "CONJP", "INTJ", "LST", "NC", "NP", "PC", "PP", "PRT", "SBAR", "UCP", "VC", "VP"}
_NUMBER = re.compile(r"\d+(\.\d+)?(e-?\d+)?")


class ColumnLayout(NamedTuple):
    """Which columns to read, and the line and the width of a CoNLL file's first row.

    Attributes:
        word: the column of words.
        tag: the column of tags; None if they are not read.
        line: the line of the first row.
        width: the number of its columns.
        marked: whether the last column holds tags, read or not.
        counted: whether the first column numbers the words of each sentence.
    """

    word: int
    tag: int | None
    line: int
    width: int
    marked: bool
    counted: bool

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
        """Recognises it from the first rows of a file, or from all.

        Args:
            path: the file, for messages.
            rows: the cells of each line.
            word: the column of words; None takes the first, or the second where the first is an index.
            tag: the column of tags; None takes the last, which must be the only one.
            tagged: whether tags are read.

        Raises:
            DataError: there are too few columns, two of tags, or a header.
        """
        # A row that begins with # may be a comment, so it serves only if there is no other.
        data = [
            (row[0].startswith(_HASH), line, len(row))
            for line, row in enumerate(rows, start=1)
            if row and row[0] != DOCSTART
            if not row[0].startswith(_HASH) or not tagged or is_tag(row[-1])
        ]
        hashed, line, width = min(data, default=(False, 1, 0))
        full = [row for row in rows if row and len(row) == width and row[0] != DOCSTART]
        full = full if hashed else [row for row in full if not row[0].startswith(_HASH)]
        marked = width > 1 and all(is_tag(row[-1]) for row in full)
        counted = word is None and width > 1 + (tagged or marked) and _counts(rows, width)
        if counted:
            progress.stage(f"{path}: column 0 numbers the words, which are read from column 1.")
        asked = {"words": int(counted) if word is None else word}
        if tagged:
            asked["tags"] = -1 if tag is None else tag
        if data and len({i % width for i in asked.values() if -width <= i < width}) < len(asked):
            wanted = " and ".join(f"{name} are in column {i}" for name, i in asked.items())
            raise DataError(
                f"{path}:{line}: too few columns: {width}, but {wanted}; separate columns by spaces or tabs"
            )
        if full and (wrong := _misread(full, asked["words"], last=tagged and tag is None)):
            raise DataError(f"{path}:{line}: {wrong}")
        return cls(asked["words"], asked.get("tags"), line, width, marked, counted)

    def is_comment(self, row: list[str]) -> bool:
        """Whether a row at the place where a sentence could begin is no data."""
        fits = len(row) == self.width
        if not row[0].startswith(_HASH):
            return False
        tag = self.tag if self.tag is not None or not self.marked else -1
        if tag is None or (row[0] == _HASH and not fits):
            return not fits
        return not is_tag(row[tag if fits else -1])

    def cells(self, row: list[str], line: str) -> tuple[str, str]:
        """The word and the tag of a row.

        Args:
            row: its cells.
            line: the line that they are of.

        Raises:
            UserError: it has another width than the first row, or one of the two is malformed.
        """
        if (wrong := self._separators(line)) is not None:
            raise UserError(wrong)
        if len(row) != self.width:
            raise UserError(
                f"{len(row)} columns where line {self.line} has {self.width}; "
                "write the same number in all rows"
            )
        if self.counted and not row[0].isdecimal():
            raise UserError(f"row {row[0]} spans several words, which have rows of their own; remove it")
        tag = OUTSIDE if self.tag is None else row[self.tag]
        split_tag(tag)
        return check_word(row[self.word]), tag

    def _separators(self, line: str) -> str | None:
        """What is wrong with how a line is cut into columns; None if nothing is."""
        if "\r" in line:
            return "a carriage return within the row; end rows with LF or CRLF"
        if "\t" not in line:
            return None
        cells = [cell.strip(" ") for cell in line.split("\t")]
        if len(columns_of(line)) < self.width and "" in cells:
            place = cells.index("")
            what = "the word" if place == self.word else f"column {place}"
            return f"{what} is empty; remove the row or write a placeholder such as _"
        spaced = [place for place, cell in enumerate(cells) if " " in cell]
        if len(spaced) == 1 and spaced[0] == self.word:
            return (
                f"{cells[spaced[0]]!a:.40} holds a space beside columns separated by tabs; "
                "write _ for the space, or separate all columns alike"
            )
        return None


def columns_of(line: str) -> list[str]:
    """The cells of a row; none on a blank line."""
    # Not split(), which also splits at U+00A0 and its like: those occur inside words.
    cells = [] if line.isspace() else line.replace("\t", " ").split(" ")
    return [cell for cell in cells if cell]


def holds_columns(lines: Iterable[str]) -> bool:
    """Whether lines are words with a tag each, and no running text: one width, a tag in each last cell."""
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


def _counts(rows: Iterable[list[str]], width: int) -> bool:
    """Whether the first column numbers the words of each sentence, from 0 or 1; some have several."""
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
        now = int(index[1])
        if now != before + 1 and (before, now) != (-1, 1):
            return False
        several = several or before >= 0
        before = now
    return several


def _rival(rows: Sequence[list[str]], word: int) -> int | None:
    """Another column than the last that holds tags of entities; None if there is none."""
    width = len(rows[0]) if rows else 0
    for place in range(width - 1):
        if place == word % width or not all(is_tag(row[place]) for row in rows):
            continue
        kinds = {split_tag(row[place])[1] for row in rows} - {""}
        if kinds - _PHRASES:
            return place
    return None


def _misread(rows: Sequence[list[str]], word: int, *, last: bool) -> str | None:
    """What would be read for what it is not: a header as a word, one of two columns of tags as the tags."""
    names = [cell.lower() for cell in rows[0]]
    if len(names) > 1 and names[word] in WORDS and names[-1] in TAGS:
        return f"this is a header ({' '.join(rows[0])}); remove the line"
    rival = _rival(rows, word) if last else None
    if rival is None:
        return None
    return (
        f"columns {rival} and {len(names) - 1} both hold tags (the first is column 0);\n"
        "name one as data.files.tags_column, or leave the other out of the file"
    )
