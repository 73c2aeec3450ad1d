"""The style of all plots: sizes, colours for light and dark pages, and saving as SVG or PNG."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, RULE, PAPER, UP, DOWN = "#1b2a41", "#64748c", "#d7dee8", "#fffffe", "#1f6fb2", "#c2571a"
DARK = {  # of each colour, the one on a dark page
    INK: "#e4eaf3",
    SOFT: "#93a3ba",
    RULE: "#35425a",
    PAPER: "#141b27",
    UP: "#6fb1ec",
    DOWN: "#f0975c",
}
WIDTH = 4.4  # inches: on a phone a plot is whole, and its text can still be read
STYLES: Any = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ((0, (6, 1, 1, 1, 1, 1)), "v"))
SETTINGS: Any = {
    "svg.hashsalt": "ner-lightning",  # otherwise element names differ between calls
    "font.size": 10,
    "axes.edgecolor": SOFT,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "text.parse_math": False,  # a type may hold a dollar sign
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def svg(figure: "Figure") -> str:
    """The picture as SVG text, on a transparent ground."""
    text = _saved(figure, format="svg", metadata={"Date": None, "Creator": None}, facecolor="none")
    return _themed(text.decode("utf-8"))


def png(figure: "Figure") -> bytes:
    """The picture as a PNG file, on white."""
    return _saved(figure, format="png", dpi=120, facecolor="white")


def _saved(figure: "Figure", **options: Any) -> bytes:
    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(out, bbox_inches="tight", **options)
    return out.getvalue()


def _themed(text: str) -> str:
    """The SVG with its colours in dark mode as well; what knows no style sheets shows the light ones."""
    rules = "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark}!important}}'
        for light, dark in DARK.items()
        for part in ("fill", "stroke")
        if f"{part}: {light}" in text
    )
    start = text.index("<defs>")
    return f"{text[:start]}<style>@media (prefers-color-scheme:dark){{{rules}}}</style>\n{text[start:]}"


@contextmanager
def drawn(width: float, height: float) -> Iterator[tuple["Figure", Any]]:
    """A figure to draw on, with its axes; sizes are in inches."""
    # A Figure of its own, not pyplot's: no display, no global state, nothing to close.
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots()
