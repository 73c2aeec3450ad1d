"""The report's sections on scores: key figures, and precision, recall and F1 with intervals."""

from collections.abc import Iterator, Sequence

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render import plots
from ner_lightning.analysis.render.blocks import Block, Fact, Facts, Figure, Heading, Table, Text
from ner_lightning.analysis.resampling import ROUNDS
from ner_lightning.analysis.slices import CORRECT, GOLD, PREDICTED, TYPE, Slice

NAMES = {"precision": "precision", "recall": "recall", "f1": "F1"}


def key_figures(run: Experiment) -> Iterator[Block]:
    """The most important figures, in large print."""
    split = _main_split(run)
    analysis = run.splits[split]
    facts = [
        Fact(
            f"{analysis.scores[name].value:.4f}",
            f"{label}, {split}",
            f"95%: {analysis.scores[name].bounds}",
        )
        for name, label in (("f1", "F1"), ("precision", "precision"), ("recall", "recall"))
    ]
    facts.append(Fact(f"{analysis.accuracy:.4f}", f"word accuracy, {split}", "words with the gold tag"))
    if run.parameters:
        total, trained = run.parameters
        facts.append(Fact(f"{trained / 1e6:.2f} M", "trained parameters", f"of {total / 1e6:,.1f} M"))
    yield Facts(facts)


def _main_split(run: Experiment) -> str:
    return "test" if "test" in run.splits else next(iter(run.splits))


def scores(run: Experiment) -> Iterator[Block]:
    """Precision, recall, F1 and accuracy of each split with intervals, and by type."""
    yield Heading(2, "Scores")
    yield Text(
        "An entity is correct if its type, first and last word are correct, as in the conlleval script. The "
        f"intervals are at 95%, from {ROUNDS:,} bootstrap samples of sentences: they show the uncertainty "
        "from the choice of sentences, not from the seed."
    )
    yield Table(
        "Scores over all types",
        ["split", "score", "value", "95% interval"],
        [
            line
            for split, a in run.splits.items()
            for line in (
                *(
                    [split, NAMES[name], f"{a.scores[name].value:.4f}", a.scores[name].bounds]
                    for name in NAMES
                ),
                [split, "word accuracy", f"{a.accuracy:.4f}", ""],
            )
        ],
    )
    yield Table(
        "Entities counted",
        ["split", "sentences", "gold", "predicted", "correct"],
        [
            [split, f"{len(a.predictions.rows):,}"]
            + [f"{int(a.totals[:, column].sum()):,}" for column in (GOLD, PREDICTED, CORRECT)]
            for split, a in run.splits.items()
        ],
    )
    for split, analysis in run.splits.items():
        rows = analysis.slices.get(TYPE, [])
        yield slice_table(f"{split}: entities by type", "type", rows)
    split = _main_split(run)
    rows = run.splits[split].slices.get(TYPE, [])
    if rows:
        by_type = ", ".join(f"{row.name} {row.f1.value:.3f}" for row in rows)
        yield Figure(
            plots.svg(plots.scores_by_type(rows)),
            f"Dot plot of F1 by entity type with intervals, {split}: {by_type}.",
            f"F1 by type on {split}; the bars are 95% intervals.",
        )


def slice_table(caption: str, name: str, rows: Sequence[Slice]) -> Table:
    """Scores of groups of entities, one row each."""
    return Table(
        caption,
        [name, "gold", "predicted", "precision", "recall", "F1"],
        [
            [
                row.name,
                f"{row.gold:,}",
                f"{row.predicted:,}",
                f"{row.precision:.4f}",
                f"{row.recall:.4f}",
                f"{row.f1.value:.4f} ({row.f1.bounds})",
            ]
            for row in rows
        ],
    )
