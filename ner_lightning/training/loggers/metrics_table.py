"""TableLogger: writes `metrics.csv`, the metrics of every logged step."""

import csv
import io
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers.logger import Logger
from lightning_utilities.core.rank_zero import rank_zero_only

from ner_lightning.runs.metrics_rows import read_metrics_table
from ner_lightning.system.atomic import write_text
from ner_lightning.system.console import best_effort

PAUSE = 20  # times the duration of a write, between two of them


class TableLogger(Logger):
    """Writes `metrics.csv`: a row for each step at which something was logged.

    Values logged at one step by several callers share its row. Each checkpoint holds the table up to its
    step, from which a resumed run takes it, so that each step is in it once.

    Args:
        folder: the run folder.
        fits: whether this is a training; the scores of `validate` and `test` are no points of a curve.
    """

    def __init__(self, folder: Path, *, fits: bool = True) -> None:
        super().__init__()
        self.fits = fits
        self.file = folder / "metrics.csv"
        self._rows: dict[int, dict[str, float]] = {}
        self._next_write = 0.0  # no earlier, by the monotonic clock
        if self.file.is_file():
            self.take(self.file.read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        """The table's name."""
        return "table"

    @property
    def version(self) -> str:
        """A run folder has one table."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> dict[int, dict[str, float]]:
        """The rows so far, by step."""
        return self._rows

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Nothing: the run folder holds the whole config."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds values to a step's row."""
        if self.fits:
            self._rows.setdefault(step or 0, {}).update({k: float(v) for k, v in metrics.items()})

    def take(self, text: str) -> None:
        """Replaces all rows by those of a table's text."""
        self._rows = read_metrics_table(text)

    def text(self) -> str:
        """The table as the text of its file."""
        columns = sorted({name for row in self._rows.values() for name in row})
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["step", *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"step": at, **self._rows[at]} for at in sorted(self._rows))
        return text.getvalue()

    @rank_zero_only
    def save(self) -> None:
        """Writes the table completely or not at all; if that fails, a later save has all rows as well.

        Lightning calls this at each logged step. Of a long table all rows are written again, so that waits
        until writing takes a twentieth of the time at most.
        """
        if time.monotonic() >= self._next_write:
            self.write()

    def write(self) -> None:
        """Writes the table now."""
        began = time.monotonic()
        if self._rows and self.fits:
            best_effort(self.file, lambda: write_text(self.file, self.text()))
        now = time.monotonic()
        self._next_write = now + PAUSE * (now - began)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes the table a last time."""
        self.write()
