"""The report's sections on scores: key figures, and precision, recall and F1 with intervals."""

from collections.abc import Iterator, Sequence
from typing import Any

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render import plots
from ner_lightning.analysis.render.blocks import Block, Fact, Facts, Figure, Heading, Table, Text
from ner_lightning.analysis.resampling import ROUNDS, Interval
from ner_lightning.analysis.slices import TYPE

NAMES = {"precision": "precision", "recall": "recall", "f1": "F1"}


def key_figures(run: Experiment) -> Iterator[Block]:
    """The few figures that matter most, in large print."""
    split = _headline(run)
    analysis = run.splits[split]
    facts = [
        Fact(
            f"{analysis.scores[name].value:.4f}",
            f"{label}, {split}",
            f"95%: {_bounds(analysis.scores[name])}",
        )
        for name, label in (("f1", "F1"), ("precision", "precision"), ("recall", "recall"))
    ]
    facts.append(Fact(f"{analysis.accuracy:.4f}", f"word accuracy, {split}", "right tags of all words"))
    total, trained = run.about.get("parameters"), run.about.get("trained_parameters")
    if total and trained is not None:
        facts.append(Fact(f"{trained / 1e6:.2f} M", "trained parameters", f"of {total / 1e6:,.1f} M"))
    yield Facts(facts)


def _headline(run: Experiment) -> str:
    return "test" if "test" in run.splits else next(iter(run.splits))


def scores(run: Experiment) -> Iterator[Block]:
    """Precision, recall, F1 and accuracy of each split with intervals, and by type."""
    yield Heading(2, "Scores")
    yield Text(
        "An entity counts as right if its type, first and last word are, as the conlleval script has it. "
        "Intervals "
        f"are at 95%, from {ROUNDS:,} draws of whole sentences: they tell how far the sample of sentences "
        "may "
        "mislead, not how far another seed would."
    )
    yield Table(
        "Scores over all types",
        ["split", "score", "value", "95% interval"],
        [
            line
            for split, a in run.splits.items()
            for line in (
                *(
                    [split, NAMES[name], f"{a.scores[name].value:.4f}", _bounds(a.scores[name])]
                    for name in NAMES
                ),
                [split, "word accuracy", f"{a.accuracy:.4f}", ""],
            )
        ],
    )
    yield Table(
        "Entities counted",
        ["split", "sentences", "annotated", "predicted", "right"],
        [
            [split, f"{len(a.predictions.rows):,}"]
            + [f"{int(a.totals[:, column].sum()):,}" for column in (2, 1, 0)]
            for split, a in run.splits.items()
        ],
    )
    for split, analysis in run.splits.items():
        rows = analysis.slices.get(TYPE, [])
        yield slice_table(f"{split}: entities by type", "type", rows)
    split = _headline(run)
    rows = run.splits[split].slices.get(TYPE, [])
    if rows:
        said = ", ".join(f"{row.name} {row.f1.value:.3f}" for row in rows)
        yield Figure(
            plots.svg(plots.scores_by_type(rows)),
            f"Dot plot of F1 by entity type with intervals, {split}: {said}.",
            f"F1 by type on {split}; the bars are 95% intervals.",
        )


def slice_table(caption: str, name: str, rows: Sequence[Any]) -> Table:
    """Scores of groups of entities, a line each."""
    return Table(
        caption,
        [name, "annotated", "predicted", "precision", "recall", "F1"],
        [
            [
                row.name,
                f"{row.gold:,}",
                f"{row.predicted:,}",
                f"{row.precision:.4f}",
                f"{row.recall:.4f}",
                _with_bounds(row.f1),
            ]
            for row in rows
        ],
    )


def _with_bounds(value: Interval) -> str:
    return f"{value.value:.4f} ({_bounds(value)})"


def _bounds(value: Interval) -> str:
    return f"{value.low:.4f} to {value.high:.4f}"
