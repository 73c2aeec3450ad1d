"""Draws the curves that `ner-lightning dashboard` lays out: draw_panels.py PICTURE RUN [RUN ...]."""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from ner_lightning.analysis.render.style import INK, RULE, SETTINGS, SOFT, STYLES, svg
from ner_lightning.training.loggers.wandb_workspace import CURVES

COLUMNS = 4
Curve = list[tuple[float, float]]


def main(args: Sequence[str] | None = None) -> int:
    """Reads the runs' metrics, and writes the picture."""
    picture, *runs = sys.argv[1:] if args is None else args
    Path(picture).write_text(svg(panels([read(Path(run)) for run in runs])), encoding="utf-8")
    return 0


def read(run: Path) -> dict[str, Curve]:
    """Each metric of a run by step."""
    curves: dict[str, Curve] = {}
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value:
                    curves.setdefault(name, []).append((float(row["step"]), float(value)))
    return curves


def panels(runs: Sequence[Mapping[str, Curve]]) -> Figure:
    """A panel for each group of curves, section by section; runs that are grouped share its axes."""
    wanted = [
        (section, title, names)
        for section, groups in CURVES.items()
        for title, names in groups.items()
        if any(lines(run, names) for run in runs)
    ]
    with mpl.rc_context(SETTINGS | {"font.size": 8, "axes.titlesize": 8, "legend.fontsize": 6.5}):
        rows = -(-len(wanted) // COLUMNS)
        figure = Figure(figsize=(2.9 * COLUMNS, 2.1 * rows), layout="constrained")
        for number, (section, title, names) in enumerate(wanted, start=1):
            axes = figure.add_subplot(rows, COLUMNS, number)
            for run in runs:
                for at, (name, curve) in enumerate(lines(run, names).items()):
                    style, marker = STYLES[at % len(STYLES)]
                    label = name.rpartition("/")[2] if run is runs[0] else None
                    few = marker if len(curve) < 10 else ""
                    color = INK if at == 0 else SOFT
                    x, y = zip(*curve, strict=True)
                    axes.plot(x, y, style, marker=few, markersize=3, linewidth=1, color=color, label=label)
            axes.set_title(f"{section}: {title}")
            axes.grid(axis="y", color=RULE, linewidth=0.6)
            if len(lines(runs[0], names)) > 1:
                axes.legend()
    return figure


def lines(run: Mapping[str, Curve], names: Sequence[str]) -> dict[str, Curve]:
    """The curves of a panel; a name that ends with a slash stands for all that begin with it."""
    found = {}
    for name in names:
        found |= {n: c for n, c in run.items() if n == name or (name.endswith("/") and n.startswith(name))}
    return found


if __name__ == "__main__":
    sys.exit(main())
