"""Sentences in HTML: examples, and the sentences with mistakes with their filters."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape

from ner_lightning.analysis.findings import Example
from ner_lightning.analysis.mistakes import Mistake
from ner_lightning.analysis.render.blocks import Cases, shown
from ner_lightning.analysis.rows import Row
from ner_lightning.data.schemes import Span
from ner_lightning.system.terminal import printable


def escaped(text: str) -> str:
    """A text for HTML, its control characters spelled out."""
    return escape(printable(text))


def example(anchor: str, part: Example) -> str:
    """An example as an item of an HTML list."""
    first, after = part.focus
    text = _marked(part.words, part.entities, lambda span: span.start < after and first < span.end)
    dots = ("… " if part.before else "", " …" if part.after else "")
    note = f" (<bdi>{escaped(part.note)}</bdi>)" if part.note else ""
    link = f'<a href="#{anchor}">{escaped(part.location)}</a>'
    return f'<li id="{anchor}">{link}: {dots[0]}{text}{dots[1]}{note}</li>\n'


def cases(block: Cases) -> Iterator[str]:
    """The sentences with mistakes, and filters by class and type."""
    yield '<section id="cases" aria-label="Sentences with mistakes">\n'
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
    yield '<button id="more" type="button" hidden></button>\n</section>\n'


def _choice(name: str, label: str, options: Iterable[tuple[str, int]]) -> str:
    listed = "".join(
        f'<option value="{escape(value)}">{escaped(value)} ({n:,})</option>' for value, n in options
    )
    return f'<label>{label} <select id="{name}"><option value="">all</option>{listed}</select></label>\n'


def _types(mistakes: Iterable[Mistake]) -> set[str]:
    return {span.type for m in mistakes for span in (*m.gold, *m.predicted)}


def _case(row: Row, mistakes: Sequence[Mistake]) -> str:
    pairs = [[m.kind, sorted(_types([m]))] for m in mistakes]
    kinds = "".join(
        f'<li><span class="kind">{escaped(m.kind)}</span>'
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
    return _marked(row.words, entities, lambda span: span not in others)


def _marked(words: Iterable[str], entities: Iterable[Span], is_bold: Callable[[Span], bool]) -> str:
    # Each word is isolated, so that a right-to-left word does not reorder the others.
    marked = [f"<bdi>{escape(shown(word))}</bdi>" for word in words]
    for span in entities:
        kind = "one" if is_bold(span) else "both"
        marked[span.start] = f'<mark class="{kind}">{marked[span.start]}'
        marked[span.end - 1] += f" <b>{escaped(span.type)}</b></mark>"
    return " ".join(marked)
