"""The learning curve of a ladder: F1 by a quantity, such as the number of annotated sentences."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ner_lightning.analysis.render.style import INK, RULE, SOFT, STYLES, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curve(series: Mapping[str, Sequence[tuple[float, Sequence[float]]]], label: str) -> "Figure":
    """Scores by a quantity, such as the number of sentences.

    Its axis is logarithmic, unless a point is at 0 or below.

    Args:
        series: of each line its points: the quantity, and the F1 of each seed, in percent.
        label: of the quantity.
    """
    with drawn(6.4, 3.6) as (figure, axes):
        ticks = sorted({at for points in series.values() for at, _ in points})
        for number, (name, points) in enumerate(series.items()):
            line, marker = STYLES[number % len(STYLES)]
            where, values = zip(*sorted(points), strict=True)
            means = [float(np.mean(each)) for each in values]
            errors = [float(np.std(each, ddof=1)) if len(each) > 1 else 0.0 for each in values]
            color = SOFT if number else INK
            axes.errorbar(
                where, means, yerr=errors, label=name, linestyle=line, marker=marker, color=color, capsize=3
            )
        scale = "log" if all(at > 0 for at in ticks) else "linear"
        axes.set(xscale=scale, xlabel=label, ylabel="F1, mean and deviation over seeds")
        axes.set_xticks(ticks, [f"{at:,g}" for at in ticks])
        axes.minorticks_off()
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.legend(fontsize=9)
    return figure
