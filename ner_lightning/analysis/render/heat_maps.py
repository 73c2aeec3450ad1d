"""Heat maps: the confusion of types, and the CRF's transitions in two colours around zero."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ner_lightning.analysis.failure import NOTHING
from ner_lightning.analysis.render.style import DOWN, INK, PAPER, RULE, UP, WIDTH, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Matrix = NDArray[np.float64]
LARGEST = 101  # rows; more cannot be told apart, and take minutes to draw
_TEXTS = 13  # columns that have room for numbers of four characters


def confusion(table: Mapping[tuple[str, str], int], types: Sequence[str]) -> "Figure":
    """Gold against predicted types, missed and spurious included.

    Shades are shares of the gold type; in the row of spurious ones, of the predicted type.
    """
    names = [*types, NOTHING]
    values = np.array([[table.get((g, p), 0) for p in names] for g in names], dtype=np.float64)
    share = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    share[-1] = values[-1] / np.maximum(values.sum(axis=0), 1)
    texts = [[f"{int(v):,}" if v else "" for v in row] for row in values]
    labels = [*types, "spurious"], [*types, "missed"]
    return heat_map(share, *labels, texts, xlabel="predicted", ylabel="gold")


def transitions(values: Matrix, tags: Sequence[str], legal: NDArray[np.bool_]) -> "Figure":
    """The CRF's transition scores, blue above zero and orange below; illegal ones are blank."""
    shown = np.where(legal, values, np.nan)
    texts = [["" if np.isnan(v) else signed(v) for v in row] for row in shown]
    return heat_map(shown, tags, tags, texts, xlabel="next tag", ylabel="tag")


def signed(value: float) -> str:
    """With one decimal and a sign, but for zero."""
    text = f"{value:+.1f}"
    return "0" if text in {"+0.0", "-0.0"} else text


def heat_map(
    values: Matrix,
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    *,
    xlabel: str,
    ylabel: str,
) -> "Figure":
    """A matrix in shades, with a text in each cell if there is room.

    Values without a sign are shades of one colour; otherwise there is one colour above zero and one below.

    Args:
        values: decide the shade, NaN for none. *Shape:* (rows, columns)
        rows: names of the rows.
        columns: names of the columns.
        texts: the text of each cell.
        xlabel: label of the columns' axis.
        ylabel: label of the rows' axis.
    """
    from matplotlib.patches import Rectangle

    top = float(np.nanmax(np.abs(values))) or 1.0
    has_signs = bool(np.nanmin(values) < 0)
    size = 9 if len(columns) <= 7 else 7.5 if len(columns) <= _TEXTS else 5.5
    height = 1.0 + (0.36 if len(columns) <= _TEXTS else 3.4 / len(columns)) * len(rows)
    with drawn(WIDTH, height) as (figure, axes):
        for (i, j), value in np.ndenumerate(values):
            if np.isnan(value):
                continue
            strength = 0.9 * abs(float(value)) / top
            colour = INK if not has_signs else UP if value > 0 else DOWN
            axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=colour, alpha=strength, linewidth=0))
            if len(columns) <= _TEXTS:
                ink = PAPER if strength > (0.65 if has_signs else 0.5) else INK  # what is legible on it
                axes.text(j, i, texts[i][j], ha="center", va="center", fontsize=size, color=ink)
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5), xlabel=xlabel, ylabel=ylabel)
        straight = max(map(len, columns)) * len(columns) <= 40
        axes.set_xticks(range(len(columns)), columns, rotation=0 if straight else 90, fontsize=size)
        axes.set_yticks(range(len(rows)), rows, fontsize=size)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.tick_params(length=0)
        axes.hlines(np.arange(len(rows) + 1) - 0.5, -0.5, len(columns) - 0.5, color=RULE, linewidth=0.6)
        axes.vlines(np.arange(len(columns) + 1) - 0.5, -0.5, len(rows) - 0.5, color=RULE, linewidth=0.6)
    return figure
