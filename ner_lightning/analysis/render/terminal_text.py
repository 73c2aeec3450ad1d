"""A report's blocks as text for a terminal: lines break between words, and tables fit into the width."""

from collections.abc import Iterable, Sequence
from textwrap import wrap

from ner_lightning.analysis.render.blocks import (
    Block,
    Cases,
    Code,
    Examples,
    Facts,
    Fold,
    Heading,
    Items,
    Table,
    Text,
)
from ner_lightning.system.terminal import printable

WIDTH = 80  # columns
_NARROW = 12  # characters; a column is not made narrower


def terminal(blocks: Iterable[Block], width: int = WIDTH) -> str:
    """Headings, text and tables as plain text.

    Args:
        blocks: what to show; figures are left out, and of sentences to browse is said how many there are.
        width: columns of the terminal; only a word or a command that is longer exceeds them.
    """
    return "\n\n".join(text for block in blocks if (text := _terminal(block, width))) + "\n"


def _terminal(block: Block, width: int) -> str:
    match block:
        case Heading(text=text) | Text(text=text) | Cases(text=text):
            return _filled(printable(text), width)
        case Facts(facts):
            texts = (f"{fact.name}: {fact.value}" + f" ({fact.remark})" * bool(fact.remark) for fact in facts)
            return "\n".join(_filled(printable(text), width, "  ") for text in texts)
        case Code(text):
            return printable(text, keep="\n")
        case Items(texts):
            return "\n".join(_filled(f"- {printable(text)}", width, "  ") for text in texts)
        case Examples():
            return _terminal(Items(block.texts), width)
        case Fold(title, content):
            return terminal([Heading(3, title), *content], width).rstrip("\n")
        case Table():
            return "\n".join(_table(block, width))
    return ""


def _filled(text: str, width: int, indent: str = "") -> str:
    return "\n".join(
        wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    )


def _table(table: Table, width: int) -> Iterable[str]:
    """The table with lines broken in its widest columns; a row to a paragraph if that is not enough."""
    yield _filled(printable(table.caption), width)
    lines = [[printable(cell) for cell in line] for line in (table.head, *table.rows)]
    widths = _widths(lines, width)
    if widths is None:
        head, *rows = lines
        for row in rows:
            yield ""
            for name, cell in zip(head, row, strict=True):
                yield _filled(f"{name}: {cell}" if name else cell, width, "  ")
        return
    for line in lines:
        if any(line):
            yield from _rows(line, widths, prose=table.prose)


def _widths(lines: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """The widths of the columns, the widest narrowed until the table fits; None if it cannot."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    words = [
        max(len(word) for cell in column for word in cell.split() or [""])
        for column in zip(*lines, strict=True)
    ]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        able = [i for i, size in enumerate(widths) if size > max(words[i], _NARROW)]
        if not able:
            return None
        widths[max(able, key=lambda i: widths[i])] -= 1
    return widths


def _rows(line: Sequence[str], widths: Sequence[int], *, prose: bool) -> Iterable[str]:
    cells = [
        wrap(cell, size, break_long_words=False, break_on_hyphens=False) or [""]
        for cell, size in zip(line, widths, strict=True)
    ]
    for row in range(max(map(len, cells))):
        parts = [cell[row] if row < len(cell) else "" for cell in cells]
        yield "  ".join(
            part.ljust(size) if prose or column == 0 else part.rjust(size)
            for column, (part, size) in enumerate(zip(parts, widths, strict=True))
        ).rstrip()
