"""Plots of a data set as SVG: entities by type, and sentence lengths; in the style of a run's plots."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ner_lightning.analysis.render.style import INK, RULE, SETTINGS, SOFT, WIDTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Fill and hatching of the splits, which differ without colour as well.
FILLS: Any = (
    {"color": INK},
    {"color": "none", "edgecolor": INK, "hatch": "////"},
    {"color": SOFT, "edgecolor": INK},
)
TYPES = 30  # bars; the rest are counted together
BINS = 24
USUAL = 0.99  # share of sentences that are in the bins before the last, if these are wide enough
WIDTHS = (1, 2, 5, 10, 20, 50)  # words of a bin


def entities_by_type(counts: Mapping[str, Mapping[str, int]], types: Sequence[str]) -> "Figure":
    """Horizontal bars of the entities of each type, with a part for each split.

    Args:
        counts: entities by split and type.
        types: the types, most frequent first.
    """
    import matplotlib
    from matplotlib.figure import Figure

    names = list(types) if len(types) <= TYPES else [*types[: TYPES - 1], f"{len(types) - TYPES + 1} others"]
    values = {
        split: [
            *(each.get(type_, 0) for type_ in types[: len(names) - 1]),
            sum(each.get(type_, 0) for type_ in types[len(names) - 1 :]),
        ]
        for split, each in counts.items()
    }
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 1.2 + 0.34 * len(names)), layout="constrained")
        axes = figure.subplots()
        heights = range(len(names))[::-1]
        left = [0] * len(names)
        for at, (split, widths) in enumerate(values.items()):
            axes.barh(heights, widths, left=left, label=split, height=0.68, **FILLS[at % len(FILLS)])
            left = [a + b for a, b in zip(left, widths, strict=True)]
        for height, total in zip(heights, left, strict=True):
            axes.annotate(
                f"{total:,}",
                (total, height),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.set_yticks(list(heights), names)
        axes.set(xlabel="entities", ylim=(-0.6, len(names) - 0.4))
        axes.margins(x=0.12)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(axis="x", color=RULE, linewidth=0.8)
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=len(values))
    return figure


def sentence_lengths(lengths: Mapping[str, Mapping[int, int]]) -> "Figure":
    """A histogram of sentence lengths for each split, as shares of its sentences.

    Args:
        lengths: by split, how many sentences have how many words; no split is empty.
    """
    import matplotlib
    from matplotlib.figure import Figure

    every = sorted(item for counts in lengths.values() for item in counts.items())
    longest, usual = every[-1][0], _quantile(every, USUAL)
    width = next((width for width in WIDTHS if usual <= BINS * width), WIDTHS[-1])
    bins = min(BINS, -(-longest // width))
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        axes = figure.subplots()
        for at, (split, counts) in enumerate(lengths.items()):
            shares = [0.0] * bins
            for words, count in counts.items():  # the last bin has all longer ones
                shares[min((words - 1) // width, bins - 1)] += count / sum(counts.values())
            style: Any = {"linestyle": ("-", "--", ":", "-.")[at % 4], "color": INK if at == 0 else SOFT}
            axes.stairs(
                shares, [width * edge for edge in range(bins + 1)], label=split, linewidth=1.6, **style
            )
        rest = f"; the last bin has all longer ones, up to {longest:,}" if longest > bins * width else ""
        axes.set(xlabel=f"words of a sentence, in steps of {width}{rest}", ylabel="share of the split")
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=9)
    return figure


def _quantile(every: Sequence[tuple[int, int]], share: float) -> int:
    """The length that a share of all sentences does not exceed, from lengths in order and their counts."""
    remaining = share * sum(count for _, count in every)
    for words, count in every:
        remaining -= count
        if remaining <= 0:
            return words
    return every[-1][0]
