"""Cells of rows in CoNLL columns: how they are separated, and which lines begin a document."""

import re
from collections.abc import Iterable, Sequence

from ner_lightning.data.schemes import is_tag

DOCSTART = "-DOCSTART-"
DOCEND = "#end document"
_DOCUMENT = re.compile(r"#\s*(newdoc|begin document)\b")


def starts_document(text: str) -> bool:
    """Whether a comment begins a document, as in CoNLL-U."""
    return _DOCUMENT.match(text) is not None


def cells_of(text: str, *, tabs: bool) -> list[str]:
    """The cells of a row; none on a blank line."""
    if tabs:
        cells = text.split("\t")
        if " " in text:
            cells = [cell.strip(" ") for cell in cells]
        return cells if any(cells) else []
    # Not split(), which also splits at U+00A0 and similar characters: those occur inside words.
    if "\t" in text:
        text = text.replace("\t", " ")
    cells = text.split(" ")
    if "" in cells:
        cells = [cell for cell in cells if cell]
    return [] if len(cells) == 1 and text.isspace() else cells


def separated_by_tabs(texts: Iterable[str]) -> bool:
    """Whether tabs alone separate columns: all rows have as many, and no cell holds a word and a tag."""
    rows = [
        text.split("\t")
        for text in texts
        if text and not text.isspace() and not text.startswith(("#", DOCSTART))
    ]
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths == {1}:
        return False
    columns = [[cell.strip(" ") for cell in column] for column in zip(*rows, strict=True)]
    if any(not any(column) for column in columns):
        return False  # columns aligned by several tabs
    return not any(_holds_two(column) for column in columns)


def _holds_two(column: Sequence[str]) -> bool:
    """Whether each cell is two cells with a space between them, the last of which is a tag."""
    last = [cell.rpartition(" ")[2] for cell in column]
    return all(" " in cell for cell in column) and all(map(is_tag, last))
