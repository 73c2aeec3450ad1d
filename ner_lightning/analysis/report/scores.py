"""The report's section on scores: precision, recall and F1 with intervals, over all types and by type."""

from collections.abc import Iterator, Sequence

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.failure import Analysis
from ner_lightning.analysis.numbers import bounds, decimals, listed, with_bounds
from ner_lightning.analysis.render import plots
from ner_lightning.analysis.render.blocks import Block, Figure, Fold, Heading, Table, Text
from ner_lightning.analysis.render.style import svg
from ner_lightning.analysis.resampling import ROUNDS
from ner_lightning.analysis.slices import CORRECT, GOLD, PREDICTED, TYPE, Slice
from ner_lightning.system.terminal import shortlist

NAMES = {"f1": "F1", "precision": "precision", "recall": "recall"}  # a phone shows the first columns
MOST = 30  # types in a table or a figure


def main_split(run: Experiment) -> str:
    """The split whose scores come first: test, if there is one."""
    return "test" if "test" in run.splits else next(iter(run.splits))


def is_defined(analysis: Analysis, score: str) -> bool:
    """Whether there are entities of which a score tells: predicted ones, gold ones, or for F1 either."""
    gold, predicted = (bool(analysis.totals[:, column].any()) for column in (GOLD, PREDICTED))
    return {"precision": predicted, "recall": gold, "f1": gold or predicted}[score]


def scores(run: Experiment) -> Iterator[Block]:
    """Precision, recall, F1 and accuracy of each split with intervals, and by type."""
    yield Heading(2, "Scores")
    split = main_split(run)
    rows = run.splits[split].slices.get(TYPE, [])
    if rows:
        yield _by_type(split, rows)
    for name, analysis in run.splits.items():
        found = analysis.slices.get(TYPE, [])
        title = f"{name}: entities by type{of_many(len(found))}"
        yield slice_table(title, "type", frequent(found))
    yield Table(
        "Scores over all types, with 95% intervals",
        ["split", *NAMES.values(), "word accuracy"],
        [[name, *_scores(analysis)] for name, analysis in run.splits.items()],
    )
    counted = Table(
        "Entities counted",
        ["split", "sentences", "gold", "predicted", "correct"],
        [
            [name, f"{len(a.predictions.rows):,}"]
            + [f"{int(a.totals[:, column].sum()):,}" for column in (GOLD, PREDICTED, CORRECT)]
            for name, a in run.splits.items()
        ],
    )
    how = Text(
        "An entity is correct if its type, first and last word are correct, as in the conlleval script. The "
        f"intervals are at 95%, from {ROUNDS:,} bootstrap samples of sentences: they show the uncertainty "
        "from the choice of sentences, not from the seed. Scores have as many decimals as their intervals "
        "justify; metrics.json has all."
    )
    yield Fold("How this is counted", [how, counted])


def of_many(types: int) -> str:
    """What a title says of a table that `frequent` cuts; empty if it has all types."""
    return f", the {MOST} most frequent of {types:,}" if types > MOST else ""


def frequent(rows: Sequence[Slice]) -> Sequence[Slice]:
    """All groups, or those with most gold entities if they are too many for a page."""
    return rows if len(rows) <= MOST else sorted(rows, key=lambda row: (-row.gold, row.name))[:MOST]


def _scores(analysis: Analysis) -> list[str]:
    places = decimals(*analysis.scores.values())
    values = [
        with_bounds(analysis.scores[name], places) if is_defined(analysis, name) else "undefined"
        for name in NAMES
    ]
    return [*values, f"{analysis.accuracy:.{max(3, places)}f}"]


def _by_type(split: str, rows: Sequence[Slice]) -> Figure:
    finding = _lowest(split, rows, decimals(*(row.f1 for row in rows)))
    which = f", the {MOST} most frequent types" if len(rows) > MOST else ""
    rows = frequent(rows)
    places = decimals(*(row.f1 for row in rows))
    each = ", ".join(f"{row.name} {row.f1.value:.{places}f}" for row in rows)
    return Figure(
        svg(plots.scores_by_type(rows)),
        f"Dot plot of F1 by entity type with intervals, {split}: {each}.",
        f"F1 by type on {split}{which}; the bars are 95% intervals.",
        finding,
    )


def _lowest(split: str, rows: Sequence[Slice], places: int) -> str:
    """Which types have the lowest F1, of those with gold entities."""
    gold = [row for row in rows if row.gold]
    scored = gold or rows
    value = min(row.f1.value for row in scored)
    low = [row for row in scored if row.f1.value == value]
    score = f"{value:.{places}f}"
    if len(scored) == 1:
        return f"F1 of {low[0].name} on {split} is {score}"
    if len(low) == len(scored):
        of = "All types" if len(scored) == len(rows) else "All types with gold entities"
        return f"{of} have the same F1 on {split}: {score}"
    others = [row for row in scored if row.f1.value > value]
    apart = max(row.f1.high for row in low) < min(row.f1.low for row in others)
    beyond = "" if apart else ", but the intervals overlap"
    worst = [row.name for row in low]
    names = listed(worst) if len(worst) <= MOST else shortlist(worst)
    return f"{names} {'has' if len(low) == 1 else 'have'} the lowest F1 on {split}: {score}{beyond}"


def slice_table(caption: str, name: str, rows: Sequence[Slice]) -> Table:
    """Scores of groups of entities, one row each."""
    places = decimals(*(row.f1 for row in rows))
    return Table(
        caption,
        [name, "F1", "95% interval", "gold", "predicted", "precision", "recall"],
        [
            [
                row.name,
                f"{row.f1.value:.{places}f}",
                bounds(row.f1, places),
                f"{row.gold:,}",
                f"{row.predicted:,}",
                f"{row.precision:.{places}f}" if row.predicted else "-",
                f"{row.recall:.{places}f}" if row.gold else "-",
            ]
            for row in rows
        ],
    )
