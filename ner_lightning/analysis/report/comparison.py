"""A comparison of runs: which is better, in words, by type and by sentence, and what differs in settings."""

import statistics
from collections.abc import Iterator, Sequence
from string import ascii_uppercase

import numpy as np

from ner_lightning.analysis.compare import (
    Decided,
    decided,
    differing_settings,
    holm,
    on_shared_sentences,
    recipes,
    repeated_seeds,
)
from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.findings import AROUND, Example
from ner_lightning.analysis.numbers import bounds, difference_decimals, listed, rounded
from ner_lightning.analysis.problems import place_of
from ner_lightning.analysis.render.blocks import Block, Examples, Heading, Table, Text, shown
from ner_lightning.analysis.report.prompting import unread_answers
from ner_lightning.analysis.report.scores import MOST, NAMES, is_defined, of_many
from ner_lightning.analysis.resampling import ROUNDS, Interval, PairedTest, Sparse, paired_test, paired_tests
from ner_lightning.analysis.slices import GOLD, grouped
from ner_lightning.data.schemes import Span
from ner_lightning.metrics import from_counts
from ner_lightning.system.terminal import counted

LEVEL = 0.05  # of p-values
SENTENCES = 5  # that each of two runs wins


def comparison(runs: Sequence[Experiment], split: str, *, text: bool = True) -> Iterator[Block]:
    """The comparison as blocks of a report.

    Args:
        runs: at least two.
        split: that all of them have predictions of.
        text: whether words of the data may appear.

    Raises:
        UserError: the runs were not scored on the same sentences.
    """
    counts = {len(run.splits[split].predictions.rows) for run in runs}
    runs = on_shared_sentences(runs, split)
    groups = recipes(runs)
    names = _names(runs)
    first, *others = (run.splits[split].totals for run in runs)
    tests = [paired_test(first, other) for other in others]
    places = max(difference_decimals(test.difference) for test in tests)
    yield Heading(2, f"Comparison on {split}")
    if len(counts) > 1:
        yield Text(f"All scores are on the {counted(min(counts), 'sentence')} that every run has.")
    for index, (test, p) in enumerate(zip(tests, holm([test.p for test in tests]), strict=True), 1):
        adjusted = p if len(tests) > 1 else None
        undefined = [names[i] for i in (0, index) if not is_defined(runs[i].splits[split], "f1")]
        if undefined:
            yield Text(f"F1 of {listed(undefined)} is undefined: no entity is gold or predicted.")
            continue
        yield Text(_result(names[0], names[index], test, _f1(runs, split, 0, index), places, adjusted))
    yield _runs_table(runs, split, places)
    yield from unread_answers(runs)
    yield from _recipe_table(groups, split, places)
    yield from _by_type(runs, split)
    yield from _settings(runs)
    yield from _sentences(runs, split, text=text)
    yield Text(
        f"p: two-sided, by approximate randomisation over sentences ({ROUNDS:,} rounds)"
        + ("; adjusted for multiple comparisons, after Holm. " if len(tests) > 1 else ". ")
        + "It tells whether two sets of predictions differ beyond chance, not whether two recipes would with "
        "other seeds: for that, look at the deviation over seeds (ner-lightning ladder)."
    )


def _names(runs: Sequence[Experiment]) -> list[str]:
    """A letter and the name of each run, as in `A (quickstart/1)`."""
    return [f"{_letter(index)} ({run.name})" for index, run in enumerate(runs)]


def _letter(index: int) -> str:
    return ascii_uppercase[index] if index < len(ascii_uppercase) else str(index + 1)


def _f1(runs: Sequence[Experiment], split: str, *indices: int) -> list[float]:
    return [runs[index].splits[split].scores["f1"].value for index in indices]


def _result(
    first: str, second: str, test: PairedTest, f1: Sequence[float], places: int, adjusted: float | None
) -> str:
    """Which of two runs is better, in words; the interval is that of the better one's advantage."""
    value, low, high = test.difference
    better, worse, high_f1, low_f1 = second, first, f1[1], f1[0]
    if value < 0:
        better, worse, high_f1, low_f1 = first, second, f1[0], f1[1]
        value, low, high = -value, -high, -low
    if not value:
        return f"{first} and {second} have the same F1, {f1[0]:.{places}f}."
    p = _p(test.p) + (f", adjusted {_p(adjusted)}" if adjusted is not None else "")
    gap = f"{value:.{places}f} higher (95% interval {bounds(Interval(value, low, high), places)}; {p})"
    scores = f"F1 {high_f1:.{places}f} against {low_f1:.{places}f}"
    if (test.p if adjusted is None else adjusted) <= LEVEL:
        return f"{better} is better than {worse}: {scores}, {gap}."
    return f"{better} is not better than {worse} beyond chance: {scores}, {gap}."


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _runs_table(runs: Sequence[Experiment], split: str, places: int) -> Table:
    rows = []
    for index, run in enumerate(runs):
        analysis = run.splits[split]
        scores = analysis.scores
        values = [
            f"{scores[name].value:.{places}f}" if is_defined(analysis, name) else "undefined"
            for name in NAMES
        ]
        seed = run.made_of or str(run.seed if run.seed is not None else "")
        name = f"{_letter(index)}: {run.name}"
        rows.append([name, seed, values[0], bounds(scores["f1"], places), *values[1:]])
    return Table("The runs", ["run", "seed", "F1", "95% interval", "precision", "recall"], rows)


def _recipe_table(groups: Sequence[Sequence[Experiment]], split: str, places: int) -> Iterator[Table]:
    if all(len(group) == 1 for group in groups):
        return
    rows = []
    for group in groups:
        f1 = [run.splits[split].scores["f1"].value for run in group]
        deviation = f"{statistics.stdev(f1):.{places + 1}f}" if len(f1) > 1 else "one run: none"
        if repeated := repeated_seeds(group):
            deviation = f"seed {', '.join(map(str, repeated))} several times: none"
        rows.append([group[0].name, str(len(group)), f"{statistics.mean(f1):.{places}f}", deviation])
    head = ["recipe (first run)", "runs", "mean F1", "standard deviation"]
    yield Table("Recipes: runs that differ only by their seed", head, rows)


def _by_type(runs: Sequence[Experiment], split: str) -> Iterator[Block]:
    """F1 of each type in each run; of two runs, the difference with its interval, and which is better."""
    counts = [grouped(run.splits[split].predictions, lambda row, span: span.type) for run in runs]
    types = runs[0].splits[split].predictions.types
    types += [name for name in sorted(set().union(*counts)) if name not in types]
    empty = Sparse.of(np.zeros_like(runs[0].splits[split].totals))
    first, *others = ([each.get(name, empty) for name in types] for each in counts)
    found = list(zip(first, *others, strict=True))
    compared = list(zip(*(paired_tests(first, other) for other in others), strict=True))
    adjusted = holm([tests[0].p for tests in compared])
    rows = []
    for name, groups, tests, p in zip(types, found, compared, adjusted, strict=True):
        places = max(difference_decimals(test.difference) for test in tests)
        f1 = [from_counts.scores(group.total).f1 for group in groups]
        row = [name, f"{int(groups[0].total[GOLD]):,}", *(f"{value:.{places}f}" for value in f1)]
        rows.append(row + (_difference(tests[0].difference, p) if len(runs) == 2 else []))
    letters = [_letter(index) for index in range(len(runs))]
    more = ["B - A", "95% interval", "better"] if len(runs) == 2 else []
    title = f"F1 by type{of_many(len(rows))}"
    if len(rows) > MOST:
        largest = sorted(range(len(types)), key=lambda index: -int(found[index][0].total[GOLD]))
        rows = [rows[index] for index in largest[:MOST]]
    yield Table(title, ["type", "gold", *letters, *more], rows)
    if more:
        yield Text(
            f"better: p of the type is at most {LEVEL:g}, adjusted for the number of types, after Holm. "
            "The intervals are not adjusted: one without 0 does not show that a run is better."
        )


def _difference(interval: Interval, p: float) -> list[str]:
    """The difference, its interval, and which run is better by the adjusted p."""
    places = difference_decimals(interval)
    better = "not beyond chance" if p > LEVEL else "B" if interval.value > 0 else "A"
    return [
        rounded(interval.value, places, "+") if interval.value else "0",
        f"{rounded(interval.low, places, '+')} to {rounded(interval.high, places, '+')}",
        better,
    ]


def _settings(runs: Sequence[Experiment]) -> Iterator[Block]:
    unknown = [name for name, run in zip(_names(runs), runs, strict=True) if not run.config]
    if unknown:
        yield Text(f"The settings of {', '.join(unknown)} are not recorded, so they are not compared.")
    known = [(_letter(index), run) for index, run in enumerate(runs) if run.config]
    if len(known) < 2:
        return
    letters = [letter for letter, _ in known]
    differing = differing_settings([run for _, run in known])
    if not differing:
        of = f" of {' and '.join(letters)}" if unknown else ""
        yield Text(f"Settings, data and versions{of} are the same; only the seed may differ.")
        return
    rows = [[name, *map(shown, values)] for name, values in differing.items()]
    yield Table("What differs", ["setting", *letters], rows, prose=True)


def _sentences(runs: Sequence[Experiment], split: str, *, text: bool) -> Iterator[Block]:
    """How many sentences each run wins against the first, and of two runs the clearest ones."""
    pairs = [decided(runs[0], other, split) for other in runs[1:]]
    total = len(runs[0].splits[split].predictions.rows)
    yield Table(
        "Sentences with fewer false positives and negatives",
        ["", "in A", "in B" if len(pairs) == 1 else "in the other", "as many in both"],
        [
            [f"A and {_letter(index)}", f"{_won(pair, 1):,}", f"{_won(pair, -1):,}", f"{total - len(pair):,}"]
            for index, pair in enumerate(pairs, 1)
        ],
    )
    if not text or len(runs) > 2:
        return
    for letter, sign in (("A", 1), ("B", -1)):
        won = [each for each in pairs[0] if each.margin * sign > 0]
        if won:
            yield Heading(3, f"Sentences that {letter} wins: {min(SENTENCES, len(won))} of {len(won):,}")
            yield Examples(f"won-{letter.lower()}", [_example(each, split) for each in won[:SENTENCES]])


def _won(pair: Sequence[Decided], sign: int) -> int:
    return sum(each.margin * sign > 0 for each in pair)


def _example(each: Decided, split: str) -> Example:
    """The words around what the runs predict differently, with gold entities, and what each predicts."""
    a, b = set(each.first.predicted), set(each.second.predicted)
    spans = sorted(a ^ b, key=lambda span: span[1:])
    words = each.first.words
    first, last = min(span.start for span in spans), max(span.end for span in spans)
    low, high = max(0, first - AROUND), min(len(words), last + AROUND)
    gold = [span for span in each.first.gold if low <= span.start and span.end <= high]

    def entities(predicted: set[Span]) -> str:
        names = (
            f"{span.type} {' '.join(map(shown, words[span.start : span.end]))}"
            for span in spans
            if span in predicted
        )
        return ", ".join(names) or "nothing"

    return Example(
        place_of(each.first, each.sentence, split),
        tuple(words[low:high]),
        tuple(Span(kind, start - low, end - low) for kind, start, end in gold),
        (first - low, last - low),
        low > 0,
        high < len(words),
        f"A: {entities(a)}; B: {entities(b)}",
    )
