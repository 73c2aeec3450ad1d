"""Recognises the format of a text file, by what is in it first and by its name second."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ner_lightning.data.readers import brat, conll2012, conllu, filetype, pubtator, webanno_columns
from ner_lightning.data.readers.column_cells import DOCSTART, cells_of, separated_by_tabs
from ner_lightning.data.readers.column_kinds import TAG_KINDS, Column, columns_from
from ner_lightning.data.readers.formats import SUFFIXES
from ner_lightning.data.readers.table_head import holds_table, separator_in
from ner_lightning.data.schemes import OUTSIDE
from ner_lightning.data.tags.tag_forms import TagForm

_COLUMN_ROWS = 0.8  # of a file in columns that have the most common width; the others are errors in it
_BARE_ROWS = 5  # by which types without B- and I- are recognised
_SENTENCES = re.compile(r"sentence|\bsent(\b|[\s_#.:-]*(id|idx|index|no|nr|num|number)\b)", re.IGNORECASE)
_SIGN_AND_TAG = re.compile(r"[^,;|\s][,;|] *(?:O|[BIESLU]-[^\s,;|]+)\s*$")
_CERTAIN: dict[str, Callable[[Sequence[str], str], bool]] = {
    "webanno": lambda lines, suffix: webanno_columns.is_webanno(lines),
    "conll2012": lambda lines, suffix: conll2012.is_conll2012(lines),
    "conllu": conllu.is_conllu,
    "pubtator": lambda lines, suffix: pubtator.is_pubtator(lines),
}


def recognise(head: bytes, path: Path | None, *, tagged: bool) -> str:
    """The format of a text file, by its content first and its suffix second.

    Args:
        head: the beginning of the file, in UTF-8.
        path: its name; None for standard input.
        tagged: whether annotation is read; then a file of unknown form has columns, otherwise text.
    """
    suffix = "" if path is None else path.suffix.lower()
    named = SUFFIXES.get(suffix)
    lines = _lines(head)
    for format, holds in _CERTAIN.items():
        if holds(lines, suffix):
            return format
    filled = [line for line in lines if line.strip()]
    first = filled[0] if filled else ""
    if named == "jsonl" or first.lstrip().startswith('{"') or _is_list(first):
        return "jsonl"
    if path is not None and named in (None, "txt") and brat.annotation_beside(path) is not None:
        return "brat"
    if separator_in(first) or (holds_table(first) and _SENTENCES.search(first)):
        return "csv"
    if named in (None, "txt", "conll") and _is_between_signs(filled):
        return "csv"
    if named == "csv":
        return "conll" if holds_columns(lines) and not holds_table(first) else "csv"
    if suffix == ".tsv" and _holds_texts(filled) and not holds_columns(lines):
        return "csv"
    if named not in (None, "txt"):
        return named
    return "conll" if holds_columns(lines) or (tagged and _ends_in_a_tag(filled)) else "txt"


def holds_columns(lines: Sequence[str]) -> bool:
    """Whether lines are rows of columns, one of them with tags, not running text."""
    tabs = separated_by_tabs(lines)
    rows = [cells_of(line, tabs=tabs) for line in lines if not line.startswith("#")]
    filled = [row for row in rows if row and row[0] != DOCSTART]
    if len(filled) < 2:
        return False
    width, count = Counter(map(len, filled)).most_common(1)[0]
    if width < 2 or count < _COLUMN_ROWS * len(filled):
        return False
    found = columns_from([[row for row in filled if len(row) == width]], width)
    # In a short text some word may well look like a type without B- and I-.
    kinds = [kind for kind in TAG_KINDS if kind != "bare" or len(filled) >= _BARE_ROWS]
    return any(column.kind in kinds and _is_certain(column) for column in found[1:])


def _holds_texts(lines: Sequence[str]) -> bool:
    """Whether lines are rows of a table, and most cells of one of its columns have several words."""
    rows = [line.split("\t") for line in lines]
    width = len(rows[0]) if rows else 0
    below = [row for row in rows[1:] or rows if len(row) == width]
    several = (sum(len(row[place].split()) > 1 for row in below) for place in range(width))
    return width > 1 and any(2 * count > len(below) for count in several)


def _is_certain(column: Column) -> bool:
    """Whether a column of tags has words outside of entities, or entities of several words.

    Last words of lines such as `vitamin B-12` and `an e-mail` have neither.
    """
    tags = {*TagForm.of(column.cells, first_of_several=True).tags.values()}
    return OUTSIDE in tags or any(
        f"{letter}-{tag[2:]}" in tags for tag in tags if tag[0] == "B" for letter in "IELM"
    )


def _ends_in_a_tag(lines: Sequence[str]) -> bool:
    """Whether some line may be a row of columns with a tag."""
    rows = [cells_of(line, tabs=False) for line in lines]
    return any(len(row) > 1 and (row[-1] == "O" or row[-1][1:2] in ("-", "_")) for row in rows)


def _is_between_signs(lines: Sequence[str]) -> bool:
    """Whether most lines below the first are a word and a tag, with a comma or the like between them."""
    count = sum(_SIGN_AND_TAG.search(line) is not None for line in lines[1:])
    return count > 1 and count >= _COLUMN_ROWS * len(lines[1:])


def _is_list(line: str) -> bool:
    """Whether a line begins a JSON list of objects or of spaCy's pairs."""
    compact = "".join(line.split())
    return compact.startswith(("[{", "[[", '["')) or compact == "["


def _lines(head: bytes) -> list[str]:
    """The complete lines at the beginning of a file; all if there is one."""
    text = head.decode("utf-8", errors="replace")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    lines = [line.removeprefix("\ufeff").removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if len(lines) > 1 and len(head) >= filetype.SAMPLE else lines
