"""The report's section on reasons: groups of entities that are harder or easier than the rest."""

from collections.abc import Iterator

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.numbers import rounded
from ner_lightning.analysis.reasons import LEAST
from ner_lightning.analysis.render.blocks import Block, Heading, Table, Text
from ner_lightning.system.terminal import counted


def reasons(run: Experiment, split: str) -> Iterator[Block]:
    """Groups that are harder or easier than the rest beyond chance."""
    analysis = run.splits[split]
    yield Heading(2, "Reasons")
    if not analysis.contrasts:
        yield Text(
            f"No groups were compared: a group, and the rest, must have at least {LEAST} gold entities each."
        )
        return
    yield Text(
        f"{counted(analysis.contrasts, 'group')} of gold entities "
        f"{'was' if analysis.contrasts == 1 else 'were'} compared with all others by the rate of false "
        "negatives. Shown are those whose difference is beyond chance: their intervals exclude zero "
        "and hold at 95% for all comparisons together. A contrast shows where it is hard, not yet why: "
        "groups overlap."
    )
    if not analysis.reasons:
        yield Text("No group differs from the rest beyond chance.")
        return
    yield Table(
        "Harder (+) and easier (-) groups",
        ["group", "gold", "false negatives", "among all others", "points", "interval"],
        [
            [
                f"{r.property}: {r.group}",
                f"{r.size:,}",
                f"{r.rate:.1%}",
                f"{r.rate_elsewhere:.1%}",
                _points(r.difference.value),
                f"{_points(r.difference.low)} to {_points(r.difference.high)}",
            ]
            for r in analysis.reasons
        ],
    )


def _points(difference: float) -> str:
    """A difference of two rates in percentage points."""
    return rounded(100 * difference, 1, "+")
