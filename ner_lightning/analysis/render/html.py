"""A report as one self-contained HTML page: no network, no account, no other file."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files

from ner_lightning.analysis.findings import Example
from ner_lightning.analysis.mistakes import Mistake
from ner_lightning.analysis.render.blocks import (
    Block,
    Cases,
    Code,
    Examples,
    Facts,
    Figure,
    Heading,
    Items,
    Table,
    Text,
    shown,
)
from ner_lightning.analysis.rows import Row
from ner_lightning.data.schemes import Span
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
            f'<title>{_text(title)}</title>\n<link rel="icon" href="data:,">\n',
            f"<style>{style}</style>\n</head>\n",
            '<body>\n<a class="skip" href="#content">Skip to the report</a>\n',
            _contents(blocks),
            '<main id="content">\n',
            *(_block(block) for block in blocks),
            f"</main>\n<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _text(text: str) -> str:
    return escape(printable(text))


def _anchor(heading: Heading) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.text.lower()).strip("-")


def _contents(blocks: Iterable[Block]) -> str:
    links = "".join(
        f'<li><a href="#{_anchor(block)}">{_text(block.text)}</a></li>\n'
        for block in blocks
        if isinstance(block, Heading) and block.level == 2
    )
    return f'<nav aria-label="Contents">\n<ul>\n{links}</ul>\n</nav>\n'


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f'<h{level} id="{_anchor(block)}">{_text(text)}</h{level}>\n'
        case Text(text):
            return f"<p>{_text(text)}</p>\n"
        case Code(text):
            return f'<pre tabindex="0"><code>{escape(printable(text, keep=chr(10)))}</code></pre>\n'
        case Items(texts):
            return "<ul>\n" + "".join(f"<li>{_text(text)}</li>\n" for text in texts) + "</ul>\n"
        case Examples(name, examples):
            items = (_example(f"{name}-{number}", each) for number, each in enumerate(examples, start=1))
            return f"<ul>\n{''.join(items)}</ul>\n"
        case Facts(facts):
            cards = (
                f"<div><dt>{_text(f.name)}</dt><dd>{_text(f.value)}<small>{_text(f.remark)}</small></dd></div>\n"
                for f in facts
            )
            return f'<dl class="facts">\n{"".join(cards)}</dl>\n'
        case Table():
            return _table(block)
        case Figure(svg, alt, caption):
            data = base64.b64encode(svg.encode()).decode()
            return (
                f'<figure>\n<div class="scroll" tabindex="0" role="group" aria-label="{_text(caption)}">'
                f'<img src="data:image/svg+xml;base64,{data}" alt="{_text(alt)}"></div>\n'
                f"<figcaption>{_text(caption)}</figcaption>\n</figure>\n"
            )
        case Cases():
            return "".join(_cases(block))


def _example(anchor: str, example: Example) -> str:
    """An example as an item of an HTML list."""
    # Each word is isolated, so that a right-to-left word does not reorder the others.
    words = [f"<bdi>{escape(shown(word))}</bdi>" for word in example.words]
    for type_, start, end in example.entities:
        kind = "one" if start < example.focus[1] and example.focus[0] < end else "both"
        words[start] = f'<mark class="{kind}">{words[start]}'
        words[end - 1] += f" <b>{escape(printable(type_))}</b></mark>"
    dots = ("… " if example.before else "", " …" if example.after else "")
    note = f" ({escape(printable(example.note))})" if example.note else ""
    link = f'<a href="#{anchor}">{escape(printable(example.location))}</a>'
    return f'<li id="{anchor}">{link}: {dots[0]}{" ".join(words)}{dots[1]}{note}</li>\n'


def _table(table: Table) -> str:
    kind = ' class="prose"' if table.prose else ""
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in table.head)
    head = f"<thead><tr>{head}</tr></thead>\n" if any(table.head) else ""
    rows = "".join(
        f'<tr><th scope="row">{_text(first)}</th>'
        + "".join(f"<td>{_text(cell)}</td>" for cell in rest)
        + "</tr>\n"
        for first, *rest in table.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(table.caption)}">\n'
        f"<table{kind}>\n<caption>{_text(table.caption)}</caption>\n{head}<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )


def _cases(block: Cases) -> Iterator[str]:
    """The sentences with mistakes, and filters by class and type."""
    yield '<section id="cases" aria-labelledby="cases-title">\n'
    yield '<h3 id="cases-title">Sentences with mistakes</h3>\n'
    yield (
        f"<p>{len(block.cases):,} of {block.total:,}, most confident first. Each is shown twice, "
        "with gold and with predicted entities. Correct ones have a thin frame, others a bold one.</p>\n"
    )
    kinds = Counter(kind for _, mistakes in block.cases for kind in {m.kind for m in mistakes})
    types = Counter(name for _, mistakes in block.cases for name in _types(mistakes))
    yield '<div class="filters">\n'
    yield _choice("kind", "Class", [(kind, n) for kind, n in kinds.most_common()])
    yield _choice("type", "Type", [(name, types[name]) for name in block.types if name in types])
    yield f'<p id="count" role="status">{len(block.cases):,} shown</p>\n</div>\n'
    yield "<noscript><p>The filters need JavaScript; all sentences are listed.</p></noscript>\n"
    for row, mistakes in block.cases:
        yield _case(row, mistakes)
    yield "</section>\n"


def _choice(name: str, label: str, options: Iterable[tuple[str, int]]) -> str:
    listed = "".join(
        f'<option value="{escape(value)}">{_text(value)} ({n:,})</option>' for value, n in options
    )
    return f'<label>{label} <select id="{name}"><option value="">all</option>{listed}</select></label>\n'


def _types(mistakes: Iterable[Mistake]) -> set[str]:
    return {span.type for m in mistakes for span in (*m.gold, *m.predicted)}


def _case(row: Row, mistakes: Sequence[Mistake]) -> str:
    pairs = [[m.kind, sorted(_types([m]))] for m in mistakes]
    kinds = "".join(
        f'<li><span class="kind">{_text(m.kind)}</span>'
        + (f" {m.probability:.0%} sure</li>" if m.probability else "</li>")
        for m in mistakes
    )
    where = f'<li class="where">document {row.document}</li>' if row.document is not None else ""
    return (
        f'<article data-mistakes="{escape(json.dumps(pairs))}">\n<ul class="kinds">{kinds}{where}</ul>\n<dl>'
        f"<div><dt>gold</dt><dd>{sentence(row, row.gold, set(row.predicted))}</dd></div>\n"
        f"<div><dt>predicted</dt><dd>{sentence(row, row.predicted, set(row.gold))}</dd></div>"
        "</dl>\n</article>\n"
    )


def sentence(row: Row, entities: Iterable[Span], others: set[Span]) -> str:
    """A sentence as HTML with its entities marked, in bold where the other side lacks them.

    Args:
        row: the sentence.
        entities: gold or predicted entities, which are marked.
        others: the entities of the other side.
    """
    # Each word is isolated, so that a right-to-left word does not reorder the others.
    words = [f"<bdi>{escape(shown(word))}</bdi>" for word in row.words]
    for span in entities:
        kind = "both" if span in others else "one"
        words[span.start] = f'<mark class="{kind}">{words[span.start]}'
        words[span.end - 1] += f" <b>{_text(span.type)}</b></mark>"
    return " ".join(words)
