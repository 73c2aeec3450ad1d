"""Plots of a run as SVG: legible in black and white, and identical at every call."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ner_lightning.analysis.failure import NOTHING, Bin, ErrorClass
from ner_lightning.analysis.slices import Slice
from ner_lightning.metrics.from_counts import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK, SOFT, RULE = "#1b2a41", "#7a8ca5", "#d7dee8"
STYLES: Any = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ((0, (6, 1, 1, 1, 1, 1)), "v"))
SETTINGS: Any = {
    "svg.hashsalt": "ner-lightning",  # otherwise element names differ between calls
    "font.size": 10,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "text.parse_math": False,  # a type may hold a dollar sign
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
}
Matrix = NDArray[np.float64]


def svg(figure: "Figure") -> str:
    """The picture as SVG text."""
    return _saved(figure, format="svg", metadata={"Date": None, "Creator": None}).decode("utf-8")


def png(figure: "Figure") -> bytes:
    """The picture as a PNG file."""
    return _saved(figure, format="png", dpi=120)


def _saved(figure: "Figure", **options: Any) -> bytes:
    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(out, bbox_inches="tight", **options)
    return out.getvalue()


@contextmanager
def drawn(width: float, height: float, columns: int = 1) -> Iterator[tuple["Figure", Any]]:
    """A figure to draw on, with its axes side by side; sizes are in inches."""
    # A Figure of its own, not pyplot's: no display, no global state, nothing to close.
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(1, columns, squeeze=False)[0]


def curves(history: Mapping[int, Mapping[str, float]], parts: Sequence[str]) -> "Figure":
    """Training losses by step on the left, validation scores on the right.

    Args:
        history: rows of `metrics.csv` by step.
        parts: columns of training losses to draw.
    """
    with drawn(9.2, 3.1, 2) as (figure, (left, right)):
        for (line, _), name in zip(STYLES, parts, strict=False):
            _series(left, history, name, name.partition("/")[2], linestyle=line)
        _series(left, history, "val/loss", "validation loss", linestyle="none", marker="o", markersize=5)
        left.set(title="Loss per word", xlabel="optimizer step", yscale="log")
        left.yaxis.set_major_formatter("{x:g}")  # powers are formulas, which are switched off
        left.yaxis.set_minor_formatter("")
        for (line, marker), name in zip(STYLES, ("f1", "precision", "recall"), strict=False):
            label = "F1" if name == "f1" else name
            _series(right, history, f"val/{name}", label, linestyle=line, marker=marker, markersize=4.5)
        right.set(title="Validation, entities", xlabel="optimizer step")
        for axes in (left, right):
            axes.grid(axis="y", color=RULE, linewidth=0.8)
            axes.legend(fontsize=9)
    return figure


def _series(
    axes: "Axes", history: Mapping[int, Mapping[str, float]], name: str, label: str, **style: Any
) -> None:
    points = [(step, row[name]) for step, row in sorted(history.items()) if name in row]
    if points:
        strong = name in {"train/loss", "val/f1", "val/loss"}
        axes.plot(*zip(*points, strict=True), label=label, color=INK if strong else SOFT, **style)


def scores_by_type(slices: Sequence[Slice]) -> "Figure":
    """F1 of each type with its interval."""
    with drawn(6.4, 0.5 + 0.42 * len(slices)) as (figure, (axes,)):
        heights = range(len(slices))[::-1]
        for height, row in zip(heights, slices, strict=True):
            low, high = max(0.0, row.f1.value - row.f1.low), max(0.0, row.f1.high - row.f1.value)
            axes.errorbar(row.f1.value, height, xerr=[[low], [high]], fmt="o", color=INK, capsize=4)
            axes.annotate(
                f"{row.f1.value:.3f}", (row.f1.value, height), xytext=(0, 6), textcoords="offset points",
                ha="center", fontsize=9,
            )  # fmt: skip
        axes.set_yticks(list(heights), [f"{row.name} ({row.gold:,})" for row in slices])
        axes.set(xlabel="F1 with its 95% interval (gold entities)", ylim=(-0.6, len(slices) - 0.3))
        axes.grid(axis="x", color=RULE, linewidth=0.8)
    return figure


def by_threshold(thresholds: Sequence[float], scores: Sequence[Scores], best: int) -> "Figure":
    """Precision, recall and F1 by the least probability of an entity; a line marks the best threshold."""
    names = {"f1": "F1", "precision": "precision", "recall": "recall"}
    with drawn(6.4, 3.4) as (figure, (axes,)):
        for (line, marker), (name, label) in zip(STYLES, names.items(), strict=False):
            values = [getattr(row, name) for row in scores]
            style: dict[str, Any] = {"linestyle": line, "marker": marker, "markersize": 4.5}
            axes.plot(thresholds, values, label=label, color=INK if name == "f1" else SOFT, **style)
        axes.axvline(thresholds[best], color=INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel="threshold: the least probability of an entity", xlim=(0, 1), ylim=(None, 1.02))
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.legend(fontsize=9)
    return figure


def error_classes(classes: Sequence[ErrorClass]) -> "Figure":
    """False negatives and false positives of each class of mistakes."""
    with drawn(7.2, 0.9 + 0.36 * len(classes)) as (figure, (axes,)):
        heights = np.arange(len(classes))[::-1]
        missed, spurious = [c.false_negatives for c in classes], [c.false_positives for c in classes]
        axes.barh(heights, missed, color=INK, label="false negatives (missed)", height=0.68)
        axes.barh(
            heights, spurious, left=missed, color="white", edgecolor=INK, hatch="////",
            label="false positives (spurious)", height=0.68,
        )  # fmt: skip
        for height, row in zip(heights, classes, strict=True):
            axes.annotate(
                f"+{row.gain:.4f} F1", (row.false_negatives + row.false_positives, height), xytext=(5, 0),
                textcoords="offset points", va="center", fontsize=9,
            )  # fmt: skip
        axes.set_yticks(heights, [c.kind for c in classes])
        axes.margins(x=0.16)
        axes.set(xlabel="entities; at the right, the F1 gained if the class is fixed")
        axes.legend(loc="lower right", fontsize=9)
    return figure


def confusion(table: Mapping[tuple[str, str], int], types: Sequence[str]) -> "Figure":
    """Gold against predicted types, missed and spurious included."""
    rows, columns = [*types, NOTHING], [*types, NOTHING]
    values = np.array([[table.get((g, p), 0) for p in columns] for g in rows], dtype=np.float64)
    share = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    texts = [[f"{int(v):,}" if v else "" for v in row] for row in values]
    labels = [*types, "nothing (spurious)"], [*types, "nothing (missed)"]
    return heat_map(share, *labels, texts, xlabel="predicted", ylabel="gold")


def transitions(values: Matrix, tags: Sequence[str], legal: NDArray[np.bool_]) -> "Figure":
    """The CRF's transition scores; illegal ones are blank."""
    shown = np.where(legal, values, np.nan)
    texts = [["" if np.isnan(v) else f"{v:+.1f}" for v in row] for row in shown]
    return heat_map(shown, tags, tags, texts, xlabel="next tag", ylabel="tag")


def heat_map(
    values: Matrix,
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    *,
    xlabel: str,
    ylabel: str,
) -> "Figure":
    """A matrix in shades of grey with a text in each cell.

    Args:
        values: decide the shade, NaN for none. *Shape:* (rows, columns)
        rows: names of the rows.
        columns: names of the columns.
        texts: the text of each cell.
        xlabel: label of the columns' axis.
        ylabel: label of the rows' axis.
    """
    size = 1.6 + 0.62 * len(columns)
    with drawn(size + 0.9, 0.8 + 0.45 * len(rows)) as (figure, (axes,)):
        axes.imshow(
            values, cmap="Greys", aspect="auto", vmin=np.nanmin(values), vmax=np.nanmax(values) * 1.15
        )
        middle = (np.nanmin(values) + np.nanmax(values) * 1.15) / 2
        for i, row in enumerate(texts):
            for j, text in enumerate(row):
                dark = values[i, j] > middle
                axes.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if dark else INK)
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="left", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), rows)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.tick_params(length=0)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        for y in np.arange(len(rows) + 1) - 0.5:
            axes.axhline(y, color=RULE, linewidth=0.6)
        for x in np.arange(len(columns) + 1) - 0.5:
            axes.axvline(x, color=RULE, linewidth=0.6)
    return figure


def calibration(bins: Sequence[Bin]) -> "Figure":
    """Precision of predicted entities by their probability, against the diagonal."""
    with drawn(4.6, 3.6) as (figure, (axes,)):
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--", label="perfectly calibrated")
        points = [(b.probability, b.precision) for b in bins]
        axes.plot(*zip(*points, strict=True), "o-", color=INK, label="measured")
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
        axes.legend(fontsize=9, loc="upper left")
    return figure
