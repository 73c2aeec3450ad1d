"""The data check as blocks of a page, and as an HTML page in which examples show their entities."""

from collections.abc import Iterator

from ner_lightning.analysis.data_check import DataCheck
from ner_lightning.analysis.findings import ROWS, Cell, Finding, Level
from ner_lightning.analysis.render.blocks import (
    Block,
    Examples,
    Fact,
    Facts,
    Figure,
    Heading,
    Items,
    Table,
    Text,
    shown,
)
from ner_lightning.analysis.render.data_plots import entities_by_type, sentence_lengths
from ner_lightning.analysis.render.html import html
from ner_lightning.analysis.render.style import svg
from ner_lightning.system.terminal import counted

TEXTS = frozenset({"consistency", "similar_types"})  # whose tables have text in all columns
SIZES = ("documents", "sentences", "words", "entities")


def data_blocks(check: DataCheck, *, text: bool = True, figures: bool = True) -> list[Block]:
    """The page: key figures, a verdict, and each finding with table and examples.

    Args:
        check: the result.
        text: whether words of the data may appear.
        figures: whether there are plots; a terminal shows none, and they take a moment.
    """
    blocks: list[Block] = [Heading(1, "Data check")]
    sizes = check.finding("sizes")
    if sizes:
        by_split = [dict(zip(sizes.head, row, strict=True)) for row in sizes.rows]
        blocks.append(Facts([Fact(_sum(by_split, n), n, _parts(by_split, n)) for n in SIZES]))
    blocks.append(Text(_verdict(check)))
    rows = [[f.title, str(f.level), _cell(f.count)] for f in check.findings if f.level is not Level.FACT]
    if rows:
        blocks.append(Table("What was found", ["finding", "level", "count"], rows))
    for finding in check.findings:
        blocks += _finding(finding, text=text)
        if figures and finding.key == "types":
            blocks.append(_types_figure(finding))
        if figures and finding.key == "sizes":
            blocks.append(_lengths_figure(check))
    if check.passed:
        blocks += [Heading(2, "Nothing to report"), Text("These checks found nothing:"), Items(check.passed)]
    return blocks


def data_page(check: DataCheck, *, text: bool = True) -> str:
    """The same as an HTML page; examples have their entities marked, and an anchor each.

    Args:
        check: the result.
        text: whether words of the data may appear.
    """
    return html(data_blocks(check, text=text))


def _sum(by_split: list[dict[str, Cell]], name: str) -> str:
    return f"{sum(int(row[name]) for row in by_split):,}"


def _parts(by_split: list[dict[str, Cell]], name: str) -> str:
    return ", ".join(f"{row['split']} {int(row[name]):,}" for row in by_split)


def _verdict(check: DataCheck) -> str:
    looks = len(check.at(Level.LOOK))
    origins = ", ".join(f"{split} is {origin}" for split, origin in check.origins.items())
    end = f" ({origins}.)" if origins else ""
    if check.problems:
        titles = "; ".join(finding.title for finding in check.problems)
        return f"No model can be trained on these data: {titles}.{end}"
    if not looks:
        return f"A model can be trained on these data, and no check found anything to look at.{end}"
    return f"A model can be trained on these data. Look at {counted(looks, 'finding')} first.{end}"


def _finding(finding: Finding, *, text: bool) -> Iterator[Block]:
    count = "" if finding.level is Level.FACT else f" ({finding.count:,})"
    yield Heading(2, finding.title + count)
    yield Text(finding.text)
    words = finding.head[:1] in {("form",), ("entity",), ("word",)}
    if finding.rows and (text or not words):
        yield Table(
            f"The first {ROWS}" if len(finding.rows) >= ROWS else "Counts",
            [*finding.head],
            [[_cell(cell) for cell in row] for row in finding.rows[:ROWS]],
            prose=finding.key in TEXTS,
        )
    if finding.examples and text:
        yield Text("Examples:" if finding.count > len(finding.examples) else "All of them:")
        yield Examples(finding.key, finding.examples)


def _cell(cell: Cell) -> str:
    return f"{cell:,}" if isinstance(cell, int) else shown(cell)


def _types_figure(finding: Finding) -> Figure:
    splits = finding.head[1:]
    counts = {
        split: {str(row[0]): int(row[column]) for row in finding.rows}
        for column, split in enumerate(splits, 1)
    }
    types = [str(row[0]) for row in finding.rows]
    return Figure(
        svg(entities_by_type(counts, types)),
        f"Bar chart of entities by type; {types[0]} is the most frequent of {len(types):,}.",
        "Entities by type and split.",
    )


def _lengths_figure(check: DataCheck) -> Figure:
    return Figure(
        svg(sentence_lengths({split: counts for split, counts in check.lengths.items() if counts})),
        "Histogram of sentence lengths of each split.",
        "Lengths of sentences, as shares of each split.",
    )
