"""The report's sections on failures: classes, reasons, mitigations, limitations."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ner_lightning.analysis import mitigations
from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.failure import NOTHING, Analysis, calibration_error
from ner_lightning.analysis.mistakes import CLASSES, CONFIDENT, NOISE, worst
from ner_lightning.analysis.mitigations import Gain
from ner_lightning.analysis.render import plots
from ner_lightning.analysis.render.blocks import Block, Cases, Figure, Heading, Items, Table, Text, shown
from ner_lightning.analysis.report.scores import slice_table
from ner_lightning.analysis.slices import CORRECT, GOLD, PREDICTED, TYPE

CASES = 300  # sentences in the page, the most confident mistakes first


def failures(run: Experiment, split: str, *, text: bool) -> Iterator[Block]:
    """Classes of mistakes, the groups in which they occur, and the sentences themselves."""
    analysis = run.splits[split]
    sums = analysis.totals.sum(0)
    yield Heading(2, f"Failure cases on {split}")
    yield Text(
        f"There are {sums[PREDICTED] - sums[CORRECT]:,} false positives (spurious entities) and "
        f"{sums[GOLD] - sums[CORRECT]:,} false negatives (missed entities). Those that share words make up "
        f"one mistake: {sum(map(len, analysis.mistakes)):,} in all, in classes whose counts add up to these."
    )
    missing = analysis.predictions.missing()
    if missing:
        yield Text("What this file of predictions cannot tell:")
        yield Items(missing)
    yield from _classes(analysis)
    yield from _confusion(analysis)
    for name, rows in analysis.slices.items():
        if name != TYPE:
            yield slice_table(f"By {name}", name, rows)
    if analysis.documents:
        yield Table(
            "The documents with most false positives and false negatives",
            ["document", "false positives and negatives", "gold", "F1"],
            [[d.name, f"{d.errors:,}", f"{d.gold:,}", f"{d.f1.value:.4f}"] for d in analysis.documents],
        )
    if text and analysis.forms:
        yield Table(
            "The forms that are confused most",
            ["form", "gold", "predicted", "times"],
            [[shown(f.text), f.gold, f.predicted, str(f.times)] for f in analysis.forms],
            prose=True,
        )
    yield from _calibration(analysis)
    if text:
        cases = worst(analysis.predictions, analysis.mistakes, CASES)
        yield Cases(cases, sum(map(bool, analysis.mistakes)), analysis.predictions.types)


def _classes(analysis: Analysis) -> Iterator[Block]:
    if not analysis.classes:
        yield Text("There is no mistake.")
        return
    rows = [
        [c.kind, *(f"{n:,}" for n in (c.mistakes, c.false_positives, c.false_negatives)), f"{c.gain:+.4f}"]
        for c in analysis.classes
    ]
    sums = (sum(column) for column in list(zip(*analysis.classes, strict=True))[1:4])
    rows.append(["all", *(f"{total:,}" for total in sums), ""])
    head = ["class", "mistakes", "false positives", "false negatives", "F1 gained if fixed"]
    yield Table("Classes of mistakes", head, rows)
    yield Items([f"{c.kind}: {CLASSES[c.kind]}." for c in analysis.classes])
    if any(c.kind == NOISE for c in analysis.classes):
        yield Text(
            "A mistake is likely annotation noise if the predicted entity has a probability of at least "
            f"{CONFIDENT:.0%} and its words are annotated as predicted elsewhere, at least twice, and never "
            "as here. That is a hint to check the annotation, not a proof."
        )
    top = analysis.classes[0]
    yield Figure(
        plots.svg(plots.error_classes(analysis.classes)),
        "Bar chart of the classes of mistakes by false negatives and false positives. Fixing the first, "
        f"{top.kind}, gains {top.gain:.4f} F1.",
        "False negatives and false positives by class, and the F1 that fixing the class would gain.",
    )


def _confusion(analysis: Analysis) -> Iterator[Block]:
    types, table = analysis.predictions.types, analysis.confusion
    yield Table(
        "Gold (rows) against predicted types (columns)",
        ["gold", *types, "missed"],
        [
            [
                gold if gold != NOTHING else "spurious",
                *(str(table.get((gold, predicted), 0)) for predicted in (*types, NOTHING)),
            ]
            for gold in (*types, NOTHING)
        ],
    )
    swaps = {pair: n for pair, n in table.items() if pair[0] != pair[1] and NOTHING not in pair}
    top = max(swaps, key=lambda pair: swaps[pair], default=None)
    most = f" The most frequent confusion is {top[0]} predicted as {top[1]}: {swaps[top]:,}." if top else ""
    yield Figure(
        plots.svg(plots.confusion(table, types)),
        f"Matrix of gold against predicted types with missed and spurious entities.{most}",
        "Entities by gold and predicted type. Shades are shares of a row; except in the last row and column, "
        "the diagonal holds correct types with correct or wrong boundaries.",
    )


def _calibration(analysis: Analysis) -> Iterator[Block]:
    bins = analysis.calibration
    if not bins:
        return
    name = str(analysis.predictions.probability_name).replace("_", " ")
    yield Table(
        f"Probabilities of predicted entities ({name}) against their precision",
        ["probability", "entities", "mean probability", "precision"],
        [
            [f"{b.low:.1f} to {b.high:.1f}", f"{b.size:,}", f"{b.probability:.4f}", f"{b.precision:.4f}"]
            for b in bins
        ],
    )
    error = f"xpected calibration error {calibration_error(bins):.4f}."
    yield Figure(
        plots.svg(plots.calibration(bins)),
        f"Precision of predicted entities against their mean probability, with the diagonal; e{error}",
        f"Calibration; the numbers are entities. E{error}",
    )


def reasons(run: Experiment, split: str) -> Iterator[Block]:
    """Groups that are harder or easier than the rest beyond chance."""
    analysis = run.splits[split]
    yield Heading(2, "Reasons")
    yield Text(
        f"{analysis.contrasts:,} groups of gold entities were compared with all others by their rate of "
        "false negatives. Shown are those whose difference is beyond chance: their intervals exclude zero "
        "and hold at 95% for all comparisons together. A contrast shows where it is hard, not yet why: "
        "groups overlap."
    )
    if not analysis.reasons:
        yield Text("No group differs from the rest beyond chance.")
        return
    yield Table(
        "Harder (+) and easier (-) groups",
        ["group", "gold", "false negatives", "among all others", "difference", "interval"],
        [
            [
                f"{r.property}: {r.group}",
                f"{r.size:,}",
                f"{r.rate:.1%}",
                f"{r.rate_elsewhere:.1%}",
                f"{r.difference.value:+.1%}",
                f"{r.difference.low:+.1%} to {r.difference.high:+.1%}",
            ]
            for r in analysis.reasons
        ],
    )


def mitigation(run: Experiment, split: str, ladder: Sequence[Mapping[str, Any]] | None) -> Iterator[Block]:
    """What may help, and its measured gain where there is one."""
    analysis = run.splits[split]
    yield Heading(2, "Mitigations")
    suitable = mitigations.suitable(run, analysis)
    if not suitable:
        yield Text("No known mitigation fits these mistakes that this run does not apply already.")
        return
    head = ["what to try", "against"]
    rows = [[m.text, mitigations.targets(m, analysis)] for m in suitable]
    if ladder is not None:
        head.append("F1 gained")
        for row, m in zip(rows, suitable, strict=True):
            gains = mitigations.gains(ladder, m.control) if m.control else ()
            row.append("; ".join(map(_gain, gains)) or "not measured here")
    yield Table("What may help", head, rows, prose=True)
    if ladder is None:
        yield Text("No file of measured rows was given (--ladder), so no gain is cited.")


def _gain(gain: Gain) -> str:
    return (
        f"{gain.with_ - gain.without:+.4f} ({gain.recipe}, {gain.split}, seed {gain.seed}: {gain.with_:.4f} "
        f"against {gain.without:.4f} without)"
    )


def limitations(run: Experiment, split: str, *, several: bool) -> Iterator[Block]:
    """What the figures above cannot tell."""
    yield Heading(2, "Limitations")
    texts = []
    if "valid" in run.splits and len(run.epochs()) > 1:
        texts.append("The checkpoint was chosen by F1 on valid, so scores there are slightly too high.")
    if run.folder and "test" not in run.splits:
        texts.append("There are no test predictions: every score is on sentences that took part in choices.")
    if not several:
        seed = run.made_of or (f"seed {run.seed}" if run.seed is not None else "")
        texts.append(f"One run{f', {seed}' if seed else ''}: the variation over seeds is not measured.")
    analysis = run.splits[split]
    counts = {name: len(other.predictions.rows) for name, other in run.splits.items()}
    sizes = [f"{n:,} {'sentence' if n == 1 else 'sentences'} ({name})" for name, n in counts.items()]
    texts.append(f"Scores are of {' and '.join(sizes)}; nothing was measured on other text.")
    texts.append("The annotation is taken as correct; the effect of its own errors is unknown.")
    small = [row.name for row in analysis.slices.get(TYPE, []) if row.gold < 100]
    if small:
        texts.append(f"Fewer than 100 gold entities of {', '.join(small)}: their scores are coarse.")
    texts += [f"Missing: {reason}." for reason in analysis.predictions.missing()]
    yield Items(texts)
