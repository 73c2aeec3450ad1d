"""Runs side by side: each with its interval, recipes with mean and deviation, and paired tests."""

import json
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Heading, Table, Text
from ner_lightning.analysis.report.prompting import failures
from ner_lightning.analysis.resampling import ROUNDS, PairedTest, paired_test
from ner_lightning.data.schemes import Span
from ner_lightning.errors import UserError


class RecipeScores(NamedTuple):
    """Runs that differ by their seed alone.

    Attributes:
        name: of the first of them.
        runs: the runs.
        f1: F1 of each.
    """

    name: str
    runs: list[Experiment]
    f1: list[float]

    @property
    def deviation(self) -> float | None:
        """The standard deviation of F1 over runs; None with fewer than two."""
        return statistics.stdev(self.f1) if len(self.f1) > 1 else None


def shared_split(runs: Sequence[Experiment], asked: str | None = None) -> str:
    """The split to compare on: the one asked for, or test if all have it, or valid.

    Raises:
        UserError: not every run has predictions of it.
    """
    common = set.intersection(*(set(run.files) for run in runs))
    wanted = [asked] if asked else ["test", "valid", *sorted(common)]
    split = next((name for name in wanted if name in common), None)
    if split is None:
        has = "; ".join(f"{run.name}: {', '.join(run.files)}" for run in runs)
        raise UserError(f"the runs share no predictions of {asked or 'one split'} ({has})")
    return split


def on_shared_sentences(runs: Sequence[Experiment], split: str) -> list[Experiment]:
    """The runs on the sentences of the one with the fewest, if the others have them all, in that order.

    Raises:
        UserError: one has not, or has them with other annotations.
    """
    fewest = min(runs, key=lambda run: len(run.splits[split].predictions.rows))
    wanted = _sentences(fewest, split)
    found = []
    for run in runs:
        places = _places(wanted, _sentences(run, split))
        if places is None:
            raise UserError(
                f"{fewest.name} and {run.name} have other sentences or annotations in {split}: scores of "
                "different data cannot be compared"
            )
        whole = len(places) == len(run.splits[split].predictions.rows)
        found.append(run if whole else run.only(split, places))
    return found


def _sentences(run: Experiment, split: str) -> list[tuple[list[str], list[Span]]]:
    return [(list(row.words), row.gold) for row in run.splits[split].predictions.rows]


def _places(wanted: Sequence[object], there: Sequence[object]) -> list[int] | None:
    """Where the wanted ones are, in order; None if they are not all there."""
    left = iter(enumerate(there))
    places = []
    for one in wanted:
        place = next((place for place, other in left if other == one), None)
        if place is None:
            return None
        places.append(place)
    return places


def tests(runs: Sequence[Experiment], split: str) -> list[PairedTest]:
    """The first run against each other one, all on the same sentences."""
    first, *others = runs
    return [paired_test(first.splits[split].totals, other.splits[split].totals) for other in others]


def recipes(runs: Sequence[Experiment], split: str) -> list[RecipeScores]:
    """The runs grouped by recipe, that is, by all of their configuration but the seed."""
    groups: dict[str, list[Experiment]] = {}
    for place, run in enumerate(runs):
        recipe = json.dumps(run.recipe(), sort_keys=True, default=str) if run.config else str(place)
        groups.setdefault(recipe, []).append(run)
    return [
        RecipeScores(group[0].name, group, [run.splits[split].scores["f1"].value for run in group])
        for group in groups.values()
    ]


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several (Holm 1979), in their order."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = highest
    return adjusted


def comparison(runs: Sequence[Experiment], split: str) -> Iterator[Block]:
    """The comparison as blocks of a report.

    Raises:
        UserError: the runs were not scored on the same sentences.
    """
    counts = {len(run.splits[split].predictions.rows) for run in runs}
    runs = on_shared_sentences(runs, split)
    results = tests(runs, split)
    yield Heading(2, f"Comparison on {split}")
    if len(counts) > 1:
        yield Text(f"All scores are on the {min(counts):,} sentences that every run has.")
    yield Table(
        "The runs",
        ["run", "seed", "precision", "recall", "F1", "95% interval"],
        [
            [run.name, str(run.seed if run.seed is not None else "")]
            + [f"{run.splits[split].scores[name].value:.4f}" for name in ("precision", "recall", "f1")]
            + ["{1:.4f} to {2:.4f}".format(*run.splits[split].scores["f1"])]
            for run in runs
        ],
    )
    yield from failures(runs)
    groups = recipes(runs, split)
    yield Table(
        "Recipes: runs that differ by seed alone",
        ["recipe (first run)", "runs", "mean F1", "standard deviation"],
        [
            [
                g.name,
                str(len(g.runs)),
                f"{statistics.mean(g.f1):.4f}",
                f"{g.deviation:.4f}" if g.deviation is not None else "one run: none",
            ]
            for g in groups
        ],
    )
    adjusted = holm([test.p for test in results])
    yield Table(
        f"Against {runs[0].name}, on the same sentences",
        ["run", "F1 higher by", "95% interval", "p", "p, of several"],
        [
            [
                run.name,
                f"{t.difference.value:+.4f}",
                f"{t.difference.low:+.4f} to {t.difference.high:+.4f}",
                f"{t.p:.4f}",
                f"{p:.4f}",
            ]
            for run, t, p in zip(runs[1:], results, adjusted, strict=True)
        ],
    )
    yield Text(
        f"p: two-sided, by approximate randomisation over sentences ({ROUNDS:,} rounds); of several: "
        "adjusted after "
        "Holm. It tells whether two sets of predictions differ beyond chance, not whether two recipes "
        "would with "
        "other seeds: for that, look at the deviation."
    )
