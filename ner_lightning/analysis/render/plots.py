"""Plots of a run: legible in black and white, on a phone and on a dark page, and identical at every call."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ner_lightning.analysis.failure import Bin, ErrorClass
from ner_lightning.analysis.numbers import decimals
from ner_lightning.analysis.render.style import INK, RULE, SOFT, STYLES, WIDTH, drawn
from ner_lightning.analysis.slices import Slice
from ner_lightning.metrics.from_counts import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Mapping[int, Mapping[str, float]]


def losses(history: History, parts: Sequence[str], best: int | None = None) -> "Figure":
    """Training losses by step, and the loss on validation.

    Args:
        history: rows of `metrics.csv` by step.
        parts: columns of training losses to draw.
        best: the step of the best validation, which is marked.
    """
    with drawn(WIDTH, 3.1) as (figure, axes):
        for (line, _), name in zip(STYLES, parts, strict=False):
            label = name.partition("/")[2]
            _series(axes, history, name, "training" if label == "loss" else label, linestyle=line)
        _series(axes, history, "val/loss", "validation", linestyle="none", marker="o", markersize=5)
        axes.set(xlabel="optimizer step", ylabel="loss per word", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")  # powers are formulas, which are switched off
        axes.yaxis.set_minor_formatter("")
        _finish(axes, history, best)
    return figure


def validations(history: History, best: int | None = None) -> "Figure":
    """Precision, recall and F1 of each validation; the arguments are those of `losses`."""
    with drawn(WIDTH, 3.1) as (figure, axes):
        for (line, marker), name in zip(STYLES, ("f1", "precision", "recall"), strict=False):
            label = "F1" if name == "f1" else name
            _series(axes, history, f"val/{name}", label, linestyle=line, marker=marker, markersize=4.5)
        axes.set(xlabel="optimizer step", ylabel="on validation")
        _finish(axes, history, best)
    return figure


def _finish(axes: "Axes", history: History, best: int | None) -> None:
    """One scale of steps from 0 in both plots, the best validation marked in both."""
    axes.set_xlim(0, max(1, *history) * 1.04)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    if best is not None:
        label = f"best: {_epoch(history[best], best)}"
        axes.axvline(best, color=INK, linewidth=1, linestyle=(0, (2, 2)), label=label)
        if "val/f1" in history[best] and axes.get_yscale() == "linear":
            axes.plot([best], [history[best]["val/f1"]], "*", color=INK, markersize=13)
    axes.legend()


def _epoch(row: Mapping[str, float], step: int) -> str:
    return f"epoch {row['epoch'] + 1:.0f}" if "epoch" in row else f"step {step:,}"


def _series(axes: "Axes", history: History, name: str, label: str, **style: Any) -> None:
    points = [(step, row[name]) for step, row in sorted(history.items()) if name in row]
    if points:
        strong = name in {"train/loss", "val/f1", "val/loss"}
        axes.plot(*zip(*points, strict=True), label=label, color=INK if strong else SOFT, **style)


def scores_by_type(slices: Sequence[Slice]) -> "Figure":
    """F1 of each type with its interval."""
    places = decimals(*(row.f1 for row in slices))
    with drawn(WIDTH, 0.7 + 0.42 * len(slices)) as (figure, axes):
        heights = range(len(slices))[::-1]
        for height, row in zip(heights, slices, strict=True):
            low, high = max(0.0, row.f1.value - row.f1.low), max(0.0, row.f1.high - row.f1.value)
            axes.errorbar(row.f1.value, height, xerr=[[low], [high]], fmt="o", color=INK, capsize=4)
            axes.annotate(
                f"{row.f1.value:.{places}f}", (row.f1.value, height), xytext=(0, 6),
                textcoords="offset points", ha="center", fontsize=9,
            )  # fmt: skip
        axes.set_yticks(list(heights), [f"{_short(row.name)} ({row.gold:,})" for row in slices])
        axes.set(xlabel="F1 with its 95% interval (gold entities)", ylim=(-0.6, len(slices) - 0.3))
        axes.grid(axis="x", color=RULE, linewidth=0.8)
    return figure


def _short(name: str) -> str:
    """A name that leaves room for the plot."""
    return name if len(name) <= 24 else f"{name[:23]}…"


def by_threshold(thresholds: Sequence[float], scores: Sequence[Scores], best: int) -> "Figure":
    """Precision, recall and F1 by the least probability of an entity; a line marks the best threshold."""
    names = {"f1": "F1", "precision": "precision", "recall": "recall"}
    with drawn(WIDTH, 3.2) as (figure, axes):
        for (line, marker), (name, label) in zip(STYLES, names.items(), strict=False):
            values = [getattr(row, name) for row in scores]
            style: dict[str, Any] = {"linestyle": line, "marker": marker, "markersize": 4.5}
            axes.plot(thresholds, values, label=label, color=INK if name == "f1" else SOFT, **style)
        axes.axvline(thresholds[best], color=INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel="threshold: the least probability of an entity", xlim=(0, 1), ylim=(None, 1.02))
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.legend()
    return figure


def error_classes(classes: Sequence[ErrorClass]) -> "Figure":
    """False negatives and false positives of each class of mistakes."""
    with drawn(WIDTH, 1.4 + 0.34 * len(classes)) as (figure, axes):
        heights = np.arange(len(classes))[::-1]
        missed, spurious = [c.false_negatives for c in classes], [c.false_positives for c in classes]
        axes.barh(heights, missed, color=INK, label="false negatives", height=0.68)
        axes.barh(
            heights, spurious, left=missed, color="none", edgecolor=INK, hatch="////",
            label="false positives", height=0.68,
        )  # fmt: skip
        for height, row in zip(heights, classes, strict=True):
            axes.annotate(
                f"{row.gain:+.3f}", (row.false_negatives + row.false_positives, height), xytext=(5, 0),
                textcoords="offset points", va="center", fontsize=9,
            )  # fmt: skip
        axes.set_yticks(heights, [c.kind for c in classes])
        axes.margins(x=0.14)
        axes.set(xlabel="entities; at the right, the F1 gained if fixed")
        figure.legend(loc="outside upper left", ncols=2)
    return figure


def calibration(bins: Sequence[Bin]) -> "Figure":
    """Precision of predicted entities by their probability, against the diagonal."""
    with drawn(WIDTH, 3.6) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--", label="perfectly calibrated")
        points = [(b.probability, b.precision) for b in bins]
        axes.plot(*zip(*points, strict=True), "o-", color=INK, label="measured (entities)")
        for bin_, point in zip(bins, points, strict=True):
            axes.annotate(
                f"{bin_.size:,}", point, xytext=(6, -11), textcoords="offset points",
                fontsize=8, color=INK,
            )  # fmt: skip
        axes.set(
            xlabel="mean probability of an entity",
            ylabel="precision",
            xlim=(0, 1.08),
            ylim=(0, 1.08),
        )
        axes.grid(color=RULE, linewidth=0.8)
        axes.legend(loc="upper left")
    return figure
