"""A report as blocks, and their rendering as Markdown; `html.py` and `terminal_text.py` are the others."""

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
        title: what it shows, as a finding; in Markdown the title is all there is.
    """

    svg: str
    alt: str
    caption: str
    title: str = ""


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
    """Sentences with mistakes to browse; elsewhere than in HTML only their number."""

    cases: Sequence[tuple[Row, Sequence[Mistake]]]
    total: int
    types: Sequence[str] = field(default_factory=tuple)

    @property
    def text(self) -> str:
        """What is said instead of them."""
        part = f"{len(self.cases):,} of {self.total:,}" if len(self.cases) < self.total else f"{self.total:,}"
        return f"The HTML page shows them, their entities marked: {part}."


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


@dataclass(frozen=True)
class Fold:
    """Blocks that the reader unfolds in HTML; elsewhere, they follow their title.

    Attributes:
        title: what is inside.
        blocks: the content.
        level: of the title as a heading; 2 is in the contents.
    """

    title: str
    blocks: Sequence["Block"]
    level: int = 3


Block = Heading | Text | Code | Items | Table | Figure | Facts | Cases | Examples | Fold


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
        case Text(text=text) | Cases(text=text):
            return _escaped(text)
        case Code(text):
            return f"```\n{printable(text, keep=chr(10))}\n```"
        case Items(texts):
            return "\n".join(f"- {_escaped(text)}" for text in texts)
        case Examples():
            return _markdown(Items(block.texts))
        case Facts(facts):
            return _table(("", "value", ""), [(f.name, f.value, f.remark) for f in facts])
        case Figure(title=title):
            return f"**{_escaped(title)}**" if title else ""
        case Fold(title, content, level):
            return "\n\n".join([_markdown(Heading(level, title)), markdown(content).rstrip("\n")])
        case Table(caption, head, rows, prose):
            return f"{_escaped(caption)}:\n\n{_table(head, rows, numbers=not prose)}"
    return ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    escaped_head, *body = ([_escaped(cell) for cell in line] for line in (head, *rows))
    return markdown_table(escaped_head, body, numbers=numbers).rstrip("\n")


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", printable(text))
