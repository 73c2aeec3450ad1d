"""The report's sections on failures: classes, reasons, mitigations, limitations."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ner_lightning.analysis import mitigations
from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.failure import NOTHING, Analysis
from ner_lightning.analysis.mistakes import CLASSES, NOISE, SURE, worst
from ner_lightning.analysis.mitigations import Gain
from ner_lightning.analysis.render import plots
from ner_lightning.analysis.render.blocks import Block, Cases, Figure, Heading, Items, Table, Text, shown
from ner_lightning.analysis.report.scores import slice_table
from ner_lightning.analysis.slices import TYPE

CASES = 300  # sentences in the page, the most confidently wrong first


def failures(run: Experiment, split: str, *, text: bool) -> Iterator[Block]:
    """Classes of mistakes, the groups in which they fall, and the sentences themselves."""
    analysis = run.splits[split]
    wrong = int(analysis.totals[:, 1].sum() - analysis.totals[:, 0].sum())
    lost = int(analysis.totals[:, 2].sum() - analysis.totals[:, 0].sum())
    yield Heading(2, f"Failure cases on {split}")
    yield Text(
        f"{wrong:,} predicted entities are wrong (false positives) and {lost:,} annotated ones are lost "
        "(false "
        f"negatives). Those that share words make up one mistake: {sum(map(len, analysis.found)):,} in "
        "all, in "
        "classes whose counts add up to these two."
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
        worst_one = [
            [str(row.name), f"{count:,}", f"{row.gold:,}", f"{row.f1.value:.4f}"]
            for count, row in analysis.documents
        ]
        head = ["document", "wrong or lost", "annotated", "F1"]
        yield Table("The documents with most wrong or lost entities", head, worst_one)
    if text and analysis.forms:
        yield Table(
            "The forms that are confused most",
            ["form", "annotated", "predicted", "times"],
            [[shown(f.text), f.gold, f.predicted, str(f.times)] for f in analysis.forms],
            prose=True,
        )
    yield from _calibration(analysis)
    if text:
        cases = worst(analysis.predictions, analysis.found, CASES)
        total = sum(1 for those in analysis.found if those)
        yield Cases(cases, total, analysis.predictions.types)


def _classes(analysis: Analysis) -> Iterator[Block]:
    if not analysis.classes:
        yield Text("There is no mistake.")
        return
    rows = [
        [c.kind, f"{c.mistakes:,}", f"{c.spurious:,}", f"{c.lost:,}", f"{c.gain:+.4f}"]
        for c in analysis.classes
    ]
    sums = [sum(c.mistakes for c in analysis.classes), sum(c.spurious for c in analysis.classes)]
    rows.append(["all", *(f"{s:,}" for s in sums), f"{sum(c.lost for c in analysis.classes):,}", ""])
    head = ["class", "mistakes", "wrong", "lost", "F1 gained if mended"]
    yield Table("Classes of mistakes", head, rows)
    yield Items([f"{c.kind}: {CLASSES[c.kind]}." for c in analysis.classes])
    if any(c.kind == NOISE for c in analysis.classes):
        yield Text(
            f"An entity is likely noise of the annotation if it is at least {SURE:.0%} probable and the "
            "same words are "
            "annotated as predicted elsewhere, at least twice, and never as here. That is a hint to look, "
            "no proof."
        )
    top = analysis.classes[0]
    yield Figure(
        plots.svg(plots.error_classes(analysis.classes)),
        f"Bar chart of the classes of mistakes by lost and wrong entities. Mending the first, {top.kind}, "
        "gains "
        f"{top.gain:.4f} F1.",
        "Lost and wrong entities by class, and the F1 that mending the class would gain.",
    )


def _confusion(analysis: Analysis) -> Iterator[Block]:
    types = analysis.predictions.types
    table = analysis.confusion
    yield Table(
        "Annotated (rows) against predicted types (columns)",
        ["annotated", *types, "missed"],
        [
            [
                gold if gold != NOTHING else "spurious",
                *(str(table.get((gold, p), 0)) for p in (*types, NOTHING)),
            ]
            for gold in (*types, NOTHING)
        ],
    )
    swaps = {pair: n for pair, n in table.items() if pair[0] != pair[1] and NOTHING not in pair}
    most = max(swaps, key=lambda pair: swaps[pair], default=None)
    said = (
        f" The most frequent swap of types is {most[0]} read as {most[1]}, {swaps[most]:,} times."
        if most
        else ""
    )
    yield Figure(
        plots.svg(plots.confusion(table, types)),
        f"Matrix of annotated against predicted types with missed and spurious entities.{said}",
        "Entities by annotated and predicted type. Shades are shares of a row; off the last row and "
        "column, the "
        "diagonal holds right types with right or wrong boundaries.",
    )


def _calibration(analysis: Analysis) -> Iterator[Block]:
    if not analysis.calibration:
        return
    name = str(analysis.predictions.probability_name).replace("_", " ")
    yield Table(
        f"Probabilities of predicted entities ({name}) against the truth",
        ["probability", "entities", "mean probability", "right"],
        [
            [f"{b.low:.1f} to {b.high:.1f}", f"{b.size:,}", f"{b.said:.4f}", f"{b.true:.4f}"]
            for b in analysis.calibration
        ],
    )
    yield Figure(
        plots.svg(plots.calibration(analysis.calibration)),
        "Share of right entities against their mean probability, with the diagonal. The expected "
        "calibration error is "
        f"{analysis.calibration_error:.4f}.",
        f"Calibration; the numbers are entities. Expected calibration error "
        f"{analysis.calibration_error:.4f}.",
    )


def reasons(run: Experiment, split: str) -> Iterator[Block]:
    """Groups that are harder or easier than the rest beyond chance."""
    analysis = run.splits[split]
    yield Heading(2, "Reasons")
    yield Text(
        f"{analysis.contrasts:,} groups of annotated entities were compared with all others by the share "
        "that is lost. "
        "Shown are those whose difference is beyond chance: their intervals exclude zero and hold at 95% "
        "for all "
        "comparisons together. A contrast tells where it is hard, which is not yet why: groups overlap."
    )
    if not analysis.reasons:
        yield Text("No group differs from the rest beyond chance.")
        return
    yield Table(
        "Harder (+) and easier (-) groups",
        ["group", "entities", "lost", "of all others", "difference", "interval"],
        [
            [
                f"{r.property}: {r.group}",
                f"{r.size:,}",
                f"{r.lost:.1%}",
                f"{r.others:.1%}",
                f"{r.difference.value:+.1%}",
                f"{r.difference.low:+.1%} to {r.difference.high:+.1%}",
            ]
            for r in analysis.reasons
        ],
    )


def mitigation(run: Experiment, split: str, ladder: Sequence[Mapping[str, Any]] | None) -> Iterator[Block]:
    """What may help, and what it gained where that was measured."""
    analysis = run.splits[split]
    yield Heading(2, "Mitigations")
    rows = []
    for one in mitigations.suitable(run, analysis):
        measured = [_gain(g) for g in mitigations.gains(ladder or (), one.control)] if one.control else []
        rows.append(
            [one.text, mitigations.targets(one, analysis), "; ".join(measured) or "not measured here"]
        )
    if not rows:
        yield Text("Nothing is known that fits these mistakes and that this run has not done.")
        return
    head = ["what to try", "against", "F1 gained"]
    yield Table("What may help", head if ladder is not None else head[:2], [
        row if ladder is not None else row[:2] for row in rows
    ], prose=True)  # fmt: skip
    if ladder is None:
        yield Text("No file of measured rows was given (--ladder), so no gain is named.")


def _gain(gain: Gain) -> str:
    return (
        f"{gain.with_ - gain.without:+.4f} ({gain.recipe}, {gain.split}, seed {gain.seed}: "
        f"{gain.with_:.4f} against "
        f"{gain.without:.4f} without)"
    )


def limitations(run: Experiment, split: str, *, several: bool) -> Iterator[Block]:
    """What the figures above cannot say."""
    yield Heading(2, "Limitations")
    texts = []
    if "valid" in run.splits and len(run.epochs()) > 1:
        texts.append("The checkpoint was chosen by F1 on valid, so scores there are a little too good.")
    if run.folder and "test" not in run.splits:
        texts.append(
            "There are no test predictions: nothing is known about sentences that played no part in choices."
        )
    if not several:
        texts.append(
            f"One run{f', seed {run.seed}' if run.seed is not None else ''}: how much another seed would "
            "change is not measured."
        )
    analysis = run.splits[split]
    counts = {name: len(each.predictions.rows) for name, each in run.splits.items()}
    sizes = [f"{n:,} {'sentence' if n == 1 else 'sentences'} ({name})" for name, n in counts.items()]
    texts.append(f"Scores are of {' and '.join(sizes)}; of other text nothing was measured.")
    texts.append("The annotation is taken as the truth; how much its own mistakes change is not known.")
    small = [row.name for row in analysis.slices.get(TYPE, []) if row.gold < 100]
    if small:
        texts.append(f"Fewer than 100 annotated entities of {', '.join(small)}: their scores are coarse.")
    texts += [f"Missing: {lack}." for lack in analysis.predictions.missing()]
    yield Items(texts)
