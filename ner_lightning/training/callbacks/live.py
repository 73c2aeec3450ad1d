"""LiveTable: redraws the rows of a fit in place, with the best so far and the time left."""

import math
import time
from collections.abc import Iterator, Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

# Name, key, digits; a part of the loss that is not used has no column.
COLUMNS = (
    ("loss", "loss", 4),
    ("ce", "train/ce", 4),
    ("crf", "train/crf", 4),
    ("ls", "train/ls", 4),
    ("val loss", "val/loss", 4),
    ("P", "val/precision", 4),
    ("R", "val/recall", 4),
    ("F1", "val/f1", 4),
    ("words/s", "words", 0),
    ("minutes", "minutes", 1),
)
PARTS = ("train/ce", "train/crf", "train/ls")


class LiveTable:
    """Draws itself a few times a second until it is stopped, and then stays.

    Args:
        console: where to draw.
        steps: optimizer steps of the whole fit; infinite if it has no end.
        first: the step at which it began, not 0 for one that is resumed.

    Attributes:
        step: the step that the fit has come to.
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

    def now(self, seen: Mapping[str, float], epoch: str) -> None:
        """What the epoch that is under way has come to: its losses."""
        self._now = (
            epoch,
            {key: value for key, value in seen.items() if key in PARTS}
            | {"loss": seen.get("train/loss", 0.0)},
        )

    def add(self, seen: Mapping[str, float], epoch: str) -> None:
        """A finished epoch, or a validation within one."""
        self._now = None
        self._rows.append((epoch, dict(seen)))

    def render(self) -> Group:
        """The table, and a line on the best so far and the time left."""
        rows = [*self._rows, *([self._now] if self._now else [])]
        seen = {key for _, row in rows for key in row}
        columns = [column for column in COLUMNS if column[1] not in PARTS or column[1] in seen]
        best = max((row["val/f1"] for _, row in self._rows if "val/f1" in row), default=None)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("epoch", *(name for name, _, _ in columns)):
            table.add_column(name, justify="right")
        first = next((row for _, row in self._rows if row.get("val/f1") == best), None)
        for epoch, row in rows:
            is_best = best is not None and row is first
            cells = [f"{row[key]:.{digits}f}" if key in row else "" for _, key, digits in columns]
            table.add_row(epoch, *cells, style="bold" if is_best else "")
        return Group(table, Text(" · ".join(self._status(best))))

    def _status(self, best: float | None) -> Iterator[str]:
        done = self.step - self.first
        endless = math.isinf(self.steps)
        yield f"step {self.step:,}" if endless else f"step {self.step:,} of {self.steps:,.0f}"
        if best is not None:
            where = next(epoch for epoch, row in self._rows if row.get("val/f1") == best)
            yield f"best F1 {best:.4f} (epoch {where})"
        if done > 0 and self.step < self.steps and not endless:
            left = (time.monotonic() - self._began) / done * (self.steps - self.step)
            yield f"about {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
