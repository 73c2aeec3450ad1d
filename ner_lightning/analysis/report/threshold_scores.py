"""The report's section on thresholds: precision, recall and F1 by the least probability of an entity."""

from collections.abc import Iterator

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.render import plots
from ner_lightning.analysis.render.blocks import Block, Code, Figure, Table, Text
from ner_lightning.analysis.render.style import svg
from ner_lightning.analysis.report.scores import MOST
from ner_lightning.analysis.row_checks import PROBABILITY_NAMES
from ner_lightning.analysis.thresholds import THRESHOLDS, ByThreshold, by_threshold, counted
from ner_lightning.metrics import from_counts
from ner_lightning.metrics.from_counts import Scores

SPLIT = "valid"  # a threshold is a choice, and choices are not made on the test set
_ALL = "all types"


def threshold_scores(run: Experiment) -> Iterator[Block]:
    """Scores by threshold on validation, and the best thresholds; nothing without candidates in the file."""
    if SPLIT not in run.splits:
        return
    analysis = run.splits[SPLIT]
    found = by_threshold(analysis.predictions)
    if found is None:
        return
    name = (analysis.predictions.probability_name or PROBABILITY_NAMES[0]).replace("_", " ")
    decoded = Scores(*(analysis.scores[each].value for each in Scores._fields))
    yield Text(
        f"predict --min_score X returns every entity whose probability ({name}, at temperature 1) is at "
        "least X, also where the best tag sequence has another one or none; of entities that share words, "
        f"the most probable. Counted on {SPLIT}, with the same threshold for all types."
    )
    best = found.best()
    yield Table(
        f"Scores by threshold, {SPLIT}",
        ["threshold", "precision", "recall", "F1", ""],
        [
            [f"{threshold:.2f}", *_cells(scores), "best threshold" if index == best else ""]
            for index, (threshold, scores) in enumerate(zip(THRESHOLDS, found.scores(), strict=True))
        ]
        + [["best tag sequence", *_cells(decoded), ""]],
    )
    top, at = found.scores()[best], f"{THRESHOLDS[best]:.2f}"
    yield Figure(
        svg(plots.by_threshold(THRESHOLDS, found.scores(), best)),
        f"Precision, recall and F1 on {SPLIT} by threshold. F1 is highest at {THRESHOLDS[best]:.2f}: "
        f"{top.f1:.3f}, with precision {top.precision:.3f} and recall {top.recall:.3f}.",
        f"Precision, recall and F1 by threshold, {SPLIT}; the dotted line is the threshold with the best F1.",
        _against_none(at, f"{top.f1:.3f}", f"{decoded.f1:.3f}"),
    )
    yield from _best_points(found, run, decoded)


def _against_none(at: str, top: str, decoded: str) -> str:
    """The best F1 with a threshold against that without one, both as they are printed."""
    if top == decoded:
        return f"F1 is the same at a threshold of {at} as without one: {top}"
    if top > decoded:
        return f"F1 is best at a threshold of {at}: {top}; without one, {decoded}"
    return f"F1 is best without a threshold: {decoded}; at {at} it is {top}"


def _best_points(found: ByThreshold, run: Experiment, decoded: Scores) -> Iterator[Block]:
    least = found.best_of_types()
    points = [(_ALL, f"{THRESHOLDS[found.best()]:.2f}", found.scores()[found.best()])]
    shown = list(least)[:MOST]
    which = f", {MOST} of {len(least):,} types" if len(least) > MOST else ""
    points += [(name, f"{least[name]:.2f}", found.scores(name)[found.best(name)]) for name in shown]
    if len(least) > 1:
        own = {name: least.get(name, THRESHOLDS[found.best()]) for name in found.types}
        counts = counted(run.splits[SPLIT].predictions.rows, own).sum(0)
        points.append((_ALL, "each type its own", from_counts.scores(counts)))
    yield Table(
        f"The thresholds with the best F1, {SPLIT}{which}",
        ["type", "threshold", "precision", "recall", "F1"],
        [[name, threshold, *_cells(scores)] for name, threshold, scores in points],
    )
    yield Text(
        "These thresholds were chosen on the sentences that they are scored on, so their F1 is optimistic: "
        "expect less on other text, the more so the fewer entities a type has. Only sentences that took part "
        "in no choice, such as a test set, can tell what a threshold gains."
    )
    common = points[0][-1]
    own_gain = len(least) > 1 and points[-1][-1].f1 > common.f1
    if (points[-1][-1] if own_gain else common).f1 <= decoded.f1:
        yield Text(f"None of them has a higher F1 than no threshold, {decoded.f1:.3f}: leave them out.")
        return
    yield Text("To predict with them:")
    options = [f"--min_score {THRESHOLDS[found.best()]:.2f}"]
    known = run.about.get("types") or found.types  # of others a tagger has no threshold
    if own_gain:
        options += [f"--min_score '{name}={value:.2f}'" for name, value in least.items() if name in known]
    yield Code("ner-lightning predict --input FILE --output FILE " + " ".join(options))


def _cells(scores: Scores) -> list[str]:
    return [f"{value:.3f}" for value in scores]
