"""A report as blocks, and their rendering as Markdown and terminal text; `html.py` renders HTML."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ner_lightning.analysis.findings import Example
from ner_lightning.analysis.mistakes import Mistake
from ner_lightning.analysis.rows import Row
from ner_lightning.runs.results import markdown_table
from ner_lightning.system.terminal import printable

# Characters with a meaning in Markdown or in HTML inside it; only text from data can hold them.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")
_LONGEST = 80  # characters of a word; a longer one is truncated and its length given


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Code:
    """Command lines or settings, verbatim."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of short sentences."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what it shows.
        head: names of the columns.
        rows: cells as text; the first column holds names, the others numbers, aligned to the right.
        prose: whether all columns are text, aligned to the left.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        svg: the picture itself.
        alt: a description for readers who cannot see it.
        caption: the text below it.
    """

    svg: str
    alt: str
    caption: str


class Fact(NamedTuple):
    """A key figure, its name, and a remark."""

    value: str
    name: str
    remark: str


@dataclass(frozen=True)
class Facts:
    """The most important figures."""

    facts: Sequence[Fact]


@dataclass(frozen=True)
class Cases:
    """Sentences with mistakes to browse; only in the HTML."""

    cases: Sequence[tuple[Row, Sequence[Mistake]]]
    total: int
    types: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Examples:
    """Parts of sentences, each with its location; in HTML with its entities marked, and an anchor.

    Attributes:
        name: begins the anchors.
        examples: the parts.
    """

    name: str
    examples: Sequence[Example]

    @property
    def texts(self) -> list[str]:
        """Each in one line."""
        return [replace(each, words=tuple(map(shown, each.words))).text() for each in self.examples]


Block = Heading | Text | Code | Items | Table | Figure | Facts | Cases | Examples


def shown(word: str) -> str:
    """A word from data for a page: control and direction marks escaped, and truncated if too long."""
    text = printable(word)
    return text if len(text) <= _LONGEST else f"{text[:60]}… ({len(word):,} characters)"


def markdown(blocks: Iterable[Block]) -> str:
    """The report in Markdown, without pictures and sentences."""
    return "\n\n".join(text for block in blocks if (text := _markdown(block))) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_escaped(text)}"
        case Text(text):
            return _escaped(text)
        case Code(text):
            return f"```\n{printable(text, keep=chr(10))}\n```"
        case Items(texts):
            return "\n".join(f"- {_escaped(text)}" for text in texts)
        case Examples():
            return _markdown(Items(block.texts))
        case Facts(facts):
            return _table(("", "value", ""), [(f.name, f.value, f.remark) for f in facts])
        case Table(caption, head, rows, prose):
            return f"{_escaped(caption)}:\n\n{_table(head, rows, numbers=not prose)}"
    return ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    escaped_head, *body = ([_escaped(cell) for cell in line] for line in (head, *rows))
    return markdown_table(escaped_head, body, numbers=numbers).rstrip("\n")


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", printable(text))


def terminal(blocks: Iterable[Block]) -> str:
    """Headings, text and tables as plain text."""
    return "\n\n".join(text for block in blocks if (text := _terminal(block))) + "\n"


def _terminal(block: Block) -> str:
    match block:
        case Heading(_, text) | Text(text):
            return printable(text)
        case Items(texts):
            return "\n".join(f"- {printable(text)}" for text in texts)
        case Examples():
            return _terminal(Items(block.texts))
        case Table(caption, head, rows, prose):
            lines = [[printable(cell) for cell in line] for line in (head, *rows)]
            widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
            return "\n".join(
                [printable(caption)]
                + ["  ".join(_aligned(line, widths, prose=prose)).rstrip() for line in lines]
            )
    return ""


def _aligned(line: Sequence[str], widths: Sequence[int], *, prose: bool) -> Iterable[str]:
    for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.ljust(width) if prose or column == 0 else cell.rjust(width)
