"""The report's sections on mistakes: classes, confusion, the groups they occur in, the sentences."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.failure import NOTHING, Analysis, calibration_error, unpaired
from ner_lightning.analysis.mistakes import CLASSES, CONFIDENT, NOISE, worst
from ner_lightning.analysis.numbers import decimals, listed
from ner_lightning.analysis.render import heat_maps, plots
from ner_lightning.analysis.render.blocks import (
    Block,
    Cases,
    Figure,
    Fold,
    Heading,
    Items,
    Table,
    Text,
    shown,
)
from ner_lightning.analysis.render.style import svg
from ner_lightning.analysis.report.scores import MOST, slice_table
from ner_lightning.analysis.slices import CORRECT, GOLD, PREDICTED, TYPE
from ner_lightning.system.terminal import counted

CASES = 300  # sentences in the page, the most confident mistakes first


def failures(run: Experiment, split: str, *, text: bool) -> Iterator[Block]:
    """Classes of mistakes, and the groups in which they occur."""
    analysis = run.splits[split]
    sums = analysis.totals.sum(0)
    yield Heading(2, f"Mistakes on {split}")
    yield Text(
        f"{counted(sums[PREDICTED] - sums[CORRECT], 'false positive')} and "
        f"{counted(sums[GOLD] - sums[CORRECT], 'false negative')}: those that share words make up one "
        f"mistake, {sum(map(len, analysis.mistakes)):,} in all, in classes whose counts add up to these."
        if analysis.classes
        else f"There is no mistake on {split}."
    )
    missing = analysis.predictions.missing()
    if missing:
        yield Text("What this file of predictions cannot tell:")
        yield Items(missing)
    if analysis.classes:
        yield _classes_figure(analysis)
        yield _confusion_figure(analysis)
        yield Text(_agreement(analysis))
    yield from _classes(analysis)
    yield _confusion_table(analysis)
    yield from _rankings(analysis, text=text)
    groups = [slice_table(f"By {n}", n, rows) for n, rows in analysis.slices.items() if n != TYPE]
    yield Fold("Scores by length, capitalisation and other groups", groups)
    yield from _calibration(analysis)


def sentences(run: Experiment, split: str) -> Iterator[Block]:
    """The sentences with mistakes, to browse in the HTML page."""
    analysis = run.splits[split]
    found = worst(analysis.predictions, analysis.mistakes, CASES)
    if found:
        yield Heading(2, "Sentences with mistakes")
        yield Cases(found, sum(map(bool, analysis.mistakes)), analysis.predictions.types)


def _classes_figure(analysis: Analysis) -> Figure:
    top = analysis.classes[0]
    total = sum(map(len, analysis.mistakes))
    tied = [c.kind for c in analysis.classes if math.isclose(c.gain, top.gain, abs_tol=1e-12)]
    if len(analysis.classes) == 1:
        finding = f"{top.kind.capitalize()} is the only class: {counted(total, 'mistake')}, {top.gain:.3f} F1"
    elif len(tied) > 1:
        finding = f"{listed(tied).capitalize()} cost most: {top.gain:.3f} F1 each"
    else:
        finding = f"{top.kind.capitalize()} costs most: {top.mistakes:,} of {total:,} mistakes, "
        finding += f"{top.gain:.3f} F1"
    return Figure(
        svg(plots.error_classes(analysis.classes)),
        "Bar chart of the classes of mistakes by false negatives and false positives. Fixing the first, "
        f"{top.kind}, gains {top.gain:.3f} F1.",
        "False negatives and false positives by class, and the F1 that fixing the class would gain.",
        finding,
    )


def _confusion(analysis: Analysis) -> tuple[list[str], Mapping[tuple[str, str], int]]:
    """Types and confusion; of many types, those that are confused most, and the others as one."""
    types = analysis.predictions.types
    if len(types) <= MOST:
        return types, analysis.confusion
    wrong: Counter[str] = Counter()
    for (gold, predicted), count in analysis.confusion.items():
        if gold != predicted:
            wrong.update({gold: count, predicted: count})
    ranked = sorted(types, key=lambda name: -wrong[name])[: MOST - 1]
    own = {name: name for name in (*ranked, NOTHING)}
    others = f"{len(types) - len(ranked):,} others"
    table: Counter[tuple[str, str]] = Counter()
    for (gold, predicted), count in analysis.confusion.items():
        table[own.get(gold, others), own.get(predicted, others)] += count
    return [*ranked, others], table


def _confusion_figure(analysis: Analysis) -> Figure:
    types, table = _confusion(analysis)
    found = _most_confused(analysis)
    return Figure(
        svg(heat_maps.confusion(table, types)),
        f"Matrix of gold against predicted types with missed and spurious entities. {found}.",
        "Entities by gold and predicted type. Shades are shares of the gold type, in the last row of the "
        "predicted type; on the diagonal are entities of the right type, also with a wrong boundary.",
        found,
    )


def _most_confused(analysis: Analysis) -> str:
    """The largest number beside the diagonal, as a finding: it may be the only one, or one of several."""
    wrong = {pair: n for pair, n in analysis.confusion.items() if pair[0] != pair[1]}
    if not wrong:
        return "Every type is right"
    (gold, predicted), times = max(wrong.items(), key=lambda item: (item[1], item[0]))
    size = sum(n for (name, _), n in analysis.confusion.items() if name == gold)
    most = "Most often" if list(wrong.values()).count(times) == 1 else "As often as another"
    start = f"{most}, " if len(wrong) > 1 else "Only "
    if predicted == NOTHING:
        return f"{start}{gold} is missed: {times:,} of {size:,}"
    if gold == NOTHING:
        return f"{start}{predicted} is predicted where there is nothing: {counted(times, 'time')}"
    return f"{start}{gold} is predicted as {predicted}: {times:,} of {size:,}"


def _agreement(analysis: Analysis) -> str:
    """Why the matrix has more missed and spurious entities than the classes of these names."""
    missed, spurious = unpaired(analysis.mistakes)
    parts = []
    for name, counts in (("missed", missed), ("spurious", spurious)):
        total = sum(counts.values())
        others = "".join(f" and {n:,} of {kind}" for kind, n in counts.most_common() if kind != name)
        if others:
            parts.append(f"{total:,} {name} ({counts[name]:,} of the class {name}{others})")
    if not parts:
        return "Missed and spurious entities of the matrix are the classes of these names."
    return (
        f"The matrix counts entities, the classes count mistakes, which may have several entities: "
        f"{'; '.join(parts)}, where one side has more entities than the other."
    )


def _classes(analysis: Analysis) -> Iterator[Block]:
    if not analysis.classes:
        return
    rows = [
        [c.kind, *(f"{n:,}" for n in (c.mistakes, c.false_positives, c.false_negatives)), f"{c.gain:+.3f}"]
        for c in analysis.classes
    ]
    sums = (sum(column) for column in list(zip(*analysis.classes, strict=True))[1:4])
    rows.append(["all", *(f"{total:,}" for total in sums), ""])
    head = ["class", "mistakes", "false positives", "false negatives", "F1 gained if fixed"]
    yield Table("Classes of mistakes", head, rows)
    explained: list[Block] = [Items([f"{c.kind}: {CLASSES[c.kind]}." for c in analysis.classes])]
    if any(c.kind == NOISE for c in analysis.classes):
        explained.append(
            Text(
                "A mistake is likely annotation noise if the predicted entity has a probability of at least "
                f"{CONFIDENT:.0%} and its words are annotated as predicted elsewhere, at least twice, and "
                "never as here. That is a hint to check the annotation, not a proof."
            )
        )
    yield Fold("What the classes mean", explained)


def _confusion_table(analysis: Analysis) -> Fold:
    types, table = _confusion(analysis)
    rows = [
        [
            gold if gold != NOTHING else "spurious",
            *(str(table.get((gold, predicted), 0)) for predicted in (*types, NOTHING)),
        ]
        for gold in (*types, NOTHING)
    ]
    head = ["gold", *types, "missed"]
    return Fold(
        "The confusion matrix as a table",
        [Table("Gold (rows) against predicted types (columns)", head, rows)],
    )


def _rankings(analysis: Analysis, *, text: bool) -> Iterator[Block]:
    """The documents and the forms with most mistakes."""
    if analysis.documents:
        places = decimals(*(d.f1 for d in analysis.documents))
        yield Table(
            "The documents with most false positives and false negatives",
            ["document", "false positives and negatives", "gold", "F1"],
            [
                [d.name, f"{d.errors:,}", f"{d.gold:,}", f"{d.f1.value:.{places}f}"]
                for d in analysis.documents
            ],
        )
    if text and analysis.forms:
        yield Table(
            "The forms that are confused most",
            ["form", "confused", "gold as predicted"],
            [[shown(f.text), f"{f.times:,}", _pairs(f.pairs)] for f in analysis.forms],
            prose=True,
        )


def _pairs(pairs: Counter[tuple[str, str]]) -> str:
    return ", ".join(
        f"{gold} as {predicted}" + (f" ({n:,})" if n > 1 else "")
        for (gold, predicted), n in pairs.most_common()
    )


def _calibration(analysis: Analysis) -> Iterator[Block]:
    bins = analysis.calibration
    if not bins:
        return
    name = str(analysis.predictions.probability_name).replace("_", " ")
    size = sum(b.size for b in bins)
    mean = sum(b.size * b.probability for b in bins) / size
    precision = sum(b.size * b.precision for b in bins) / size
    word = (
        "overconfident"
        if mean > precision + 0.02
        else "underconfident"
        if mean < precision - 0.02
        else "right on average"
    )
    finding = f"Probabilities are {word}: mean {mean:.2f}, precision {precision:.2f}"
    error = f"xpected calibration error {calibration_error(bins):.3f}."
    table = Table(
        f"Probabilities of predicted entities ({name}) against their precision",
        ["probability", "entities", "mean probability", "precision"],
        [
            [f"{b.low:.1f} to {b.high:.1f}", f"{b.size:,}", f"{b.probability:.2f}", f"{b.precision:.2f}"]
            for b in bins
        ],
    )
    figure = Figure(
        svg(plots.calibration(bins)),
        f"Precision of predicted entities against their mean probability, with the diagonal; e{error}",
        f"Calibration; the numbers are entities. E{error}",
        finding,
    )
    yield Fold("Calibration of probabilities", [figure, table])
