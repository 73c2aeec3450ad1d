"""LiveTable: redraws the rows of a fit in place, with the best so far and the time left."""

import math
import time
from collections.abc import Iterator, Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

# Title, key, digits. The loss's parts have no columns: a finished epoch has a mean of the loss alone.
COLUMNS = (
    ("loss", "loss", 4),
    ("val loss", "val/loss", 4),
    ("P", "val/precision", 4),
    ("R", "val/recall", 4),
    ("F1", "val/f1", 4),
    ("words/s", "words", 0),
    ("min", "minutes", 1),
)


class LiveTable:
    """A table that is redrawn twice a second until it is stopped, and then stays.

    Args:
        console: where to draw.
        steps: optimizer steps of the whole fit; infinite if it has no end.
        first: the step at which it starts, not 0 for a resumed one.

    Attributes:
        step: the current step.
    """

    def __init__(self, console: Console, steps: float, first: int) -> None:
        self.steps, self.first, self.step = steps, first, first
        self._began = time.monotonic()
        self._rows: list[tuple[str, dict[str, float]]] = []
        self._now: tuple[str, dict[str, float]] | None = None
        # What others print meanwhile appears above the table.
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=2)

    def start(self) -> None:
        """Begins to draw."""
        self._began = time.monotonic()
        self._live.start()

    def stop(self) -> None:
        """Draws a last time."""
        self._now = None
        self._live.stop()

    def now(self, figures: Mapping[str, float], epoch: str) -> None:
        """Sets the loss of the current epoch's last step."""
        self._now = (epoch, {"loss": figures.get("train/loss", 0.0)})

    def add(self, figures: Mapping[str, float], epoch: str) -> None:
        """Adds a finished epoch, or a validation within one."""
        self._now = None
        self._rows.append((epoch, dict(figures)))

    def render(self) -> Group:
        """The table, and a line with the best F1 so far and the time left."""
        rows = [*self._rows, *([self._now] if self._now else [])]
        validated = [(epoch, row) for epoch, row in self._rows if "val/f1" in row]
        best = max(validated, key=lambda row: row[1]["val/f1"], default=None)  # the first of equal ones
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for title in ("epoch", *(title for title, _, _ in COLUMNS)):
            table.add_column(title, justify="right")
        for epoch, row in rows:
            cells = [f"{row[key]:.{digits}f}" if key in row else "" for _, key, digits in COLUMNS]
            table.add_row(epoch, *cells, style="bold" if best is not None and row is best[1] else "")
        return Group(table, Text(" · ".join(self._status(best))))

    def _status(self, best: tuple[str, dict[str, float]] | None) -> Iterator[str]:
        done = self.step - self.first
        endless = math.isinf(self.steps)
        yield f"step {self.step:,}" if endless else f"step {self.step:,} of {self.steps:,.0f}"
        if best is not None:
            yield f"best F1 {best[1]['val/f1']:.4f} (epoch {best[0]})"
        if done > 0 and self.step < self.steps and not endless:
            left = (time.monotonic() - self._began) / done * (self.steps - self.step)
            yield f"about {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
