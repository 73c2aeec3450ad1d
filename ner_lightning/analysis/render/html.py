"""A report as one self-contained HTML page: no network, no account, no other file."""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby

from ner_lightning.analysis.render.blocks import (
    Block,
    Cases,
    Code,
    Examples,
    Facts,
    Figure,
    Fold,
    Heading,
    Items,
    Table,
    Text,
)
from ner_lightning.analysis.render.marked_sentences import cases, escaped, example
from ner_lightning.system.page_policy import page_policy
from ner_lightning.system.terminal import printable


def html(blocks: Sequence[Block]) -> str:
    """The page.

    All text is escaped, and the page's content policy allows only its own script and style, so that
    nothing in the data can run.
    """
    style, script = (
        (files("ner_lightning.analysis.render") / name).read_text(encoding="utf-8")
        for name in ("page.css", "page.js")
    )
    policy = page_policy([style], [script])
    title = next((block.text for block in blocks if isinstance(block, Heading)), "Report")
    return "".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f'<title>{escaped(title)}</title>\n<link rel="icon" href="data:,">\n',
            f"<style>{style}</style>\n</head>\n",
            '<body>\n<a class="skip" href="#content">Skip to the report</a>\n',
            _contents(blocks),
            '<main id="content">\n',
            *_blocks(blocks),
            f"</main>\n<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _contents(blocks: Iterable[Block]) -> str:
    titles = (
        block.title if isinstance(block, Fold) else block.text
        for block in blocks
        if isinstance(block, Heading | Fold) and block.level == 2
    )
    links = "".join(f'<li><a href="#{_anchor(title)}">{escaped(title)}</a></li>\n' for title in titles)
    return f'<nav aria-label="Contents">\n<ul>\n{links}</ul>\n</nav>\n'


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    """The blocks in order; figures that follow each other stand side by side if there is room."""
    for figures, group in groupby(blocks, lambda block: isinstance(block, Figure)):
        parts = "".join(map(_block, group))
        yield f'<div class="figures">\n{parts}</div>\n' if figures else parts


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f'<h{level} id="{_anchor(text)}">{escaped(text)}</h{level}>\n'
        case Text(text):
            return f"<p>{escaped(text)}</p>\n"
        case Code(text):
            return _code(text)
        case Items(texts):
            return "<ul>\n" + "".join(f"<li>{escaped(text)}</li>\n" for text in texts) + "</ul>\n"
        case Examples(name, examples):
            items = (example(f"{name}-{number}", each) for number, each in enumerate(examples, start=1))
            return f"<ul>\n{''.join(items)}</ul>\n"
        case _:
            return _compound(block)


def _compound(block: Facts | Table | Figure | Fold | Cases) -> str:
    match block:
        case Facts():
            return _facts(block)
        case Table():
            return _table(block)
        case Figure():
            return _figure(block)
        case Fold(title, content, level):
            head = f'<h{level} id="{_anchor(title)}">{escaped(title)}</h{level}>'
            return f"<details>\n<summary>{head}</summary>\n{''.join(_blocks(content))}</details>\n"
        case Cases():
            return "".join(cases(block))


def _code(text: str) -> str:
    """Verbatim text, whose lines break between words only: not behind the hyphens of an option."""
    words = re.split(r"(\s+)", escape(printable(text, keep="\n")))
    spans = (word if not word or word.isspace() else f"<span>{word}</span>" for word in words)
    return f"<pre><code>{''.join(spans)}</code></pre>\n"


def _facts(block: Facts) -> str:
    cards = (
        f"<div><dt>{escaped(f.name)}</dt><dd>{escaped(f.value)}<small>{escaped(f.remark)}</small></dd></div>\n"
        for f in block.facts
    )
    return f'<dl class="facts">\n{"".join(cards)}</dl>\n'


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.svg.encode()).decode()
    head = f'<p class="finding">{escaped(figure.title)}</p>\n' if figure.title else ""
    return (
        f'<figure>\n{head}<img src="data:image/svg+xml;base64,{data}" alt="{escaped(figure.alt)}">\n'
        f"<figcaption>{escaped(figure.caption)}</figcaption>\n</figure>\n"
    )


def _table(table: Table) -> str:
    kind = ' class="prose"' if table.prose else ""
    head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in table.head)
    head = f"<thead><tr>{head}</tr></thead>\n" if any(table.head) else ""
    rows = "".join(
        f'<tr><th scope="row">{escaped(first)}</th>'
        + "".join(f"<td>{escaped(cell)}</td>" for cell in rest)
        + "</tr>\n"
        for first, *rest in table.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(table.caption)}">\n'
        f"<table{kind}>\n<caption>{escaped(table.caption)}</caption>\n{head}<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
