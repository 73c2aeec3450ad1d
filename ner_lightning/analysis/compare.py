"""Compares runs: each with its interval, recipes with mean and deviation over seeds, and paired tests."""

import json
import statistics
from collections.abc import Iterator, Sequence

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render.blocks import Block, Heading, Table, Text
from ner_lightning.analysis.report.prompting import unread_answers
from ner_lightning.analysis.resampling import ROUNDS, paired_test
from ner_lightning.data.schemes import Span
from ner_lightning.errors import UserError


def shared_split(runs: Sequence[Experiment], requested: str | None = None) -> str:
    """The split to compare on: the requested one, or test if all have it, or valid.

    Raises:
        UserError: not every run has predictions of it.
    """
    common = set.intersection(*(set(run.files) for run in runs))
    wanted = [requested] if requested else ["test", "valid", *sorted(common)]
    split = next((name for name in wanted if name in common), None)
    if split is None:
        has = "; ".join(f"{run.name}: {', '.join(run.files)}" for run in runs)
        raise UserError(f"the runs share no predictions of {requested or 'one split'} ({has})")
    return split


def on_shared_sentences(runs: Sequence[Experiment], split: str) -> list[Experiment]:
    """The runs, each on the sentences of the run with the fewest, in the same order.

    Raises:
        UserError: a run lacks some of them, or has them with other annotations.
    """
    fewest = min(runs, key=lambda run: len(run.splits[split].predictions.rows))
    wanted = _sentences(fewest, split)
    selected = []
    for run in runs:
        indices = _indices(wanted, _sentences(run, split))
        if indices is None:
            raise UserError(
                f"{fewest.name} and {run.name} have other sentences or annotations in {split}: scores of "
                "different data cannot be compared"
            )
        whole = len(indices) == len(run.splits[split].predictions.rows)
        selected.append(run if whole else run.only(split, indices))
    return selected


def _sentences(run: Experiment, split: str) -> list[tuple[list[str], list[Span]]]:
    return [(list(row.words), row.gold) for row in run.splits[split].predictions.rows]


def _indices(wanted: Sequence[object], items: Sequence[object]) -> list[int] | None:
    """The indices of the wanted items, which must be in the same order; None if one is not there."""
    remaining = iter(enumerate(items))
    indices = [next((index for index, item in remaining if item == one), None) for one in wanted]
    return None if None in indices else [index for index in indices if index is not None]


def recipes(runs: Sequence[Experiment]) -> list[list[Experiment]]:
    """The runs grouped by recipe: by their configuration without the seed."""
    groups: dict[str, list[Experiment]] = {}
    for index, run in enumerate(runs):
        recipe = json.dumps(run.recipe(), sort_keys=True, default=str) if run.config else str(index)
        groups.setdefault(recipe, []).append(run)
    return list(groups.values())


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple comparisons (Holm 1979), in their order."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted


def comparison(runs: Sequence[Experiment], split: str) -> Iterator[Block]:
    """The comparison as blocks of a report.

    Raises:
        UserError: the runs were not scored on the same sentences.
    """
    counts = {len(run.splits[split].predictions.rows) for run in runs}
    runs = on_shared_sentences(runs, split)
    yield Heading(2, f"Comparison on {split}")
    if len(counts) > 1:
        yield Text(f"All scores are on the {min(counts):,} sentences that every run has.")
    yield Table(
        "The runs",
        ["run", "seed", "precision", "recall", "F1", "95% interval"],
        [
            [run.name, run.made_of or str(run.seed if run.seed is not None else "")]
            + [f"{run.splits[split].scores[name].value:.4f}" for name in ("precision", "recall", "f1")]
            + [run.splits[split].scores["f1"].bounds]
            for run in runs
        ],
    )
    yield from unread_answers(runs)
    yield _recipe_table(runs, split)
    yield _test_table(runs, split)
    yield Text(
        f"p: two-sided, by approximate randomisation over sentences ({ROUNDS:,} rounds); adjusted p: for "
        "multiple comparisons, after Holm. It tells whether two sets of predictions differ beyond chance, "
        "not whether two recipes would with other seeds: for that, look at the deviation."
    )


def _recipe_table(runs: Sequence[Experiment], split: str) -> Table:
    rows = []
    for group in recipes(runs):
        f1 = [run.splits[split].scores["f1"].value for run in group]
        deviation = f"{statistics.stdev(f1):.4f}" if len(f1) > 1 else "one run: none"
        rows.append([group[0].name, str(len(group)), f"{statistics.mean(f1):.4f}", deviation])
    head = ["recipe (first run)", "runs", "mean F1", "standard deviation"]
    return Table("Recipes: runs that differ only by their seed", head, rows)


def _test_table(runs: Sequence[Experiment], split: str) -> Table:
    """The first run against each of the others."""
    first, *others = (run.splits[split].totals for run in runs)
    results = [paired_test(first, other) for other in others]
    rows = [
        [
            run.name,
            f"{test.difference.value:+.4f}",
            f"{test.difference.low:+.4f} to {test.difference.high:+.4f}",
            f"{test.p:.4f}",
            f"{p:.4f}",
        ]
        for run, test, p in zip(runs[1:], results, holm([test.p for test in results]), strict=True)
    ]
    head = ["run", "difference in F1", "95% interval", "p", "adjusted p"]
    return Table(f"Against {runs[0].name}, on the same sentences", head, rows)
