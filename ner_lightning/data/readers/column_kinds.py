"""What the columns of a CoNLL file hold, by their cells: words, tags, counts, numbers, names of sentences."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import chain, groupby
from typing import Literal, NamedTuple

from ner_lightning.data.schemes import OUTSIDE, UNKNOWN, split_tag
from ner_lightning.data.tags.tag_forms import OUTSIDES, TagForm
from ner_lightning.errors import UserError
from ner_lightning.system.terminal import listed

BOTH_TAGGED = (
    "columns {} both contain tags (the first is column 0);\n"
    "name one as data.files.tags_column, or leave the other out of the file"
)
Kind = Literal["entities", "phrases", "bare", "outside", "index", "name", "runs", "number", "filler", "text"]
TAG_KINDS = ("entities", "phrases", "bare", "outside")
# Types of phrases in CoNLL-2000 and CoNLL-2003, whose column of chunks precedes the one of entities.
_PHRASES = {"ADJP", "ADVP", "CONJP", "INTJ", "LST", "NC", "NP", "PC", "PP", "PRT", "SBAR", "UCP", "VC", "VP"}
_INDEX = re.compile(r"(\d+)([-.]\d+)?")  # with the second part, a multi-word or empty token of CoNLL-U
_NUMBER = re.compile(r"[-+]?\d+([-.:,]\d+)*(e-?\d+)?%?")
_FILLERS = {"_", "-", "*", "--", "", "NONE", "None", "null"}
_TAGGED_ROWS = 0.8  # of the rows of a column of tags that are tags; the others are errors in the file
_BARE_OUTSIDE = 0.25  # of the rows of a column of types without B- and I- that are O
_DIGIT = re.compile(r"\d")
_REPEATING_WORDS = 200  # rows from which words are never all different
_PLAIN_WORDS = 20  # rows from which the number of different cells tells words from parts of speech


class Column(NamedTuple):
    """A column of a file.

    Attributes:
        place: its index, from 0.
        kind: what it holds.
        cells: how often each cell occurs.
    """

    place: int
    kind: Kind
    cells: Counter[str]

    @property
    def counts(self) -> bool:
        """Whether it counts the words of each sentence."""
        return self.kind == "index"


def columns_from(sentences: Sequence[Sequence[Sequence[str]]], width: int) -> list[Column]:
    """The columns of a file.

    Args:
        sentences: the rows of each sentence, all of one width.
        width: the number of columns.
    """
    found = []
    for index in range(width):
        cells = [[row[index] for row in rows] for rows in sentences]
        counted = Counter(chain.from_iterable(cells))
        found.append(Column(index, _kind(cells, counted), counted))
    return found


def tag_column(columns: Sequence[Column], word: int | None, *, wanted: bool) -> int | None:
    """Index of the column of tags; None if there is none and it is not wanted.

    Args:
        columns: the columns.
        word: the column of words, if it is known.
        wanted: whether tags are read.

    Raises:
        UserError: there are several, and tags are wanted.
    """
    others = [column for column in columns if column.place != word]
    for kind in TAG_KINDS:
        fitting = [column for column in others if column.kind == kind]
        # Entities without B- and I-, or none at all in this file, follow the phrases of CoNLL-2003.
        places = {each: [c.place for c in others if c.kind == each] for each in ("bare", "outside")}
        if kind == "phrases" and (
            places["bare"] or (fitting and places["outside"][-1:] > [fitting[-1].place])
        ):
            continue
        if word is None and kind != "outside":
            # Words such as `O Foods` or `B-12` before tags that are all O are no tags.
            rest = {c.place: {o.kind for o in others if o is not c} for c in fitting}
            fitting = [c for c in fitting if c is columns[-1] or rest[c.place] != {"outside"}]
        if len(fitting) > 1 and wanted and kind in ("entities", "bare"):
            shown = " and ".join(f"{c.place} ({_examples(c)})" for c in fitting)
            raise UserError(BOTH_TAGGED.format(shown))
        if fitting and (len(columns) > 1 or wanted):
            return fitting[-1].place
    last = columns[-1]
    if not wanted or len(columns) == 1 or last.place == word:
        return None
    if len(columns) > 2 and {*OUTSIDES}.issuperset(last.cells):
        raise UserError(
            f"no column contains tags (the last one has only {_examples(last)});\n"
            "name one as data.files.tags_column if these stand for O (the first column is 0)"
        )
    return last.place


def word_column(columns: Sequence[Column], tag: int | None, document: int | None) -> int:
    """Index of the column of words.

    Args:
        columns: the columns.
        tag: the column of tags.
        document: the column that tells documents apart, if one is named.

    Raises:
        UserError: there is none, or it is not certain which.
    """
    left = [c for c in columns if c.place not in (tag, document)]
    for kinds in (TAG_KINDS, ("filler",), ("index",), ("name", "runs"), ("number",)):
        remaining = [c for c in left if c.kind not in kinds]
        left = remaining or left
    if not left:
        return 0
    first = left[0]
    if first.kind == "index" and len(columns) > 1 and first.cells.total() > 2:
        raise UserError(
            f"column {first.place} numbers the words, and no other column holds words;\n"
            "name the column of words as data.files.words_column (predict: --words_column)"
        )
    for other in left[1:]:
        few, many = len(first.cells), len(other.cells)
        if first.cells.total() >= _PLAIN_WORDS and (many > 3 * few or _may_be_ids(first.cells, many)):
            raise UserError(
                f"the words may be in column {first.place} ({_examples(first)}) or {other.place} "
                f"({_examples(other)});\n"
                "name one as data.files.words_column (predict: --words_column); the first column is 0"
            )
    return first.place


def _may_be_ids(cells: Counter[str], others: int) -> bool:
    """Whether cells may be ids of words, as `doc1_0_1`, beside a column with so many different cells.

    In a few rows all words may well differ, but then not all of them have a digit.
    """
    rows = cells.total()
    repeat = others < rows >= _REPEATING_WORDS
    return rows == len(cells) and (repeat or all(map(_DIGIT.search, cells)))


def check_ends(columns: Sequence[Column], word: int, document: int | None) -> None:
    """Checks that no column before the words names sentences that no blank line ends.

    Args:
        columns: the columns.
        word: the column of words.
        document: the column that tells documents apart and ends sentences, if one is named.

    Raises:
        UserError: one does.
    """
    for column in columns[:word]:
        if column.kind == "runs" and document is None:
            names = ", ".join(list(column.cells)[:2])
            raise UserError(
                f"column {column.place} ({names}, ...) seems to name sentences, which no blank line ends;\n"
                f"set data.files.document_column to {column.place}, so that a sentence ends where it "
                "changes, or write a blank line after each"
            )


def has_entities(cells: Collection[str]) -> bool:
    """Whether different cells of a column are tags of entities."""
    return _tag_kind(Counter(dict.fromkeys(cells, 1))) == "entities"


def _examples(column: Column) -> str:
    cells = [cell for cell, _ in column.cells.most_common() if cell != OUTSIDE] or [OUTSIDE]
    return listed((f"{cell:.20}" for cell in cells), 2)


def _kind(sentences: Sequence[Sequence[str]], cells: Counter[str]) -> Kind:
    """What a column holds."""
    if _FILLERS.issuperset(cells):
        return "filler"
    tags = _tag_kind(cells)
    if tags is not None:
        return tags
    if _is_index(sentences):
        return "index"
    if _is_name(sentences):
        return "name"
    if _is_in_runs(sentences):
        return "runs"
    return "number" if all(_NUMBER.fullmatch(cell) or cell in _FILLERS for cell in cells) else "text"


def _tag_kind(cells: Counter[str]) -> Kind | None:
    """The kind of tags in a column; None if they are none."""
    if {"O", "o", UNKNOWN}.issuperset(cells) and set(cells) != {UNKNOWN}:
        return "outside"
    form = TagForm.of(cells, first_of_several=True)
    if form.kind == "bare":
        outside = sum(
            count for cell, count in cells.items() if form.tags.get(cell) == OUTSIDE and cell not in ("", "_")
        )
        short = all(len(cell) < 40 and len(cell.split()) < 5 for cell in cells)
        return "bare" if short and outside >= _BARE_OUTSIDE * cells.total() else None
    if form.kind in ("numbers", "none"):
        return None
    good = sum(count for cell, count in cells.items() if cell in form.tags)
    types = {split_tag(tag)[1] for tag in form.tags.values()} - {""}
    if not types or good < _TAGGED_ROWS * cells.total():
        return None
    return "phrases" if types <= _PHRASES else "entities"


def _is_index(sentences: Sequence[Sequence[str]]) -> bool:
    """Whether a column numbers the words of each sentence from 0 or 1, and some sentence has several."""
    several = False
    for sentence in sentences:
        before = -1
        for cell in sentence:
            index = _INDEX.fullmatch(cell)
            if index is None:
                return False
            if index[2]:
                continue
            number = int(index[1])
            if number != before + 1 and (before, number) != (-1, 1):
                return False
            several = several or before >= 0
            before = number
    return several


def _is_name(sentences: Sequence[Sequence[str]]) -> bool:
    """Whether a column has one cell in each sentence, and some sentence has several words."""
    return any(len(sentence) > 1 for sentence in sentences) and all(
        len(set(sentence)) == 1 for sentence in sentences
    )


def _is_in_runs(sentences: Sequence[Sequence[str]]) -> bool:
    """Whether a column names sentences that no blank line ends: rows with the same cell follow each other."""
    runs = [len([cell for cell, _ in groupby(sentence)]) for sentence in sentences]
    return (
        sum(runs) >= 2 * len(sentences)
        and 2 * sum(runs) <= sum(map(len, sentences))
        and all(count == len(set(sentence)) for count, sentence in zip(runs, sentences, strict=True))
    )
