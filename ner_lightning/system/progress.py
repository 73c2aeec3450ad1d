"""Progress: lines about the stages of a command, printed only if a command asks for them."""

import logging
import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TypeVar

from ner_lightning.system.first_rank import is_first
from ner_lightning.system.terminal import counted, printable, redraws, write_line

Item = TypeVar("Item")
EVERY = 60.0  # seconds between two lines about the same loop
SLOW = 5.0  # seconds after which a stage is named that usually is quick
_LOGGER = logging.getLogger("ner_lightning")


def stage(line: str) -> None:
    """Names the stage that begins; used as a library, the package prints nothing."""
    _LOGGER.info(line)


@contextmanager
def stage_if_slow(line: str) -> Iterator[None]:
    """Names the stage that the block is, if it takes longer than `SLOW` seconds."""
    timer = threading.Timer(SLOW, stage, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def warn(line: str) -> None:
    """Prints a warning, on the first of several ranks."""
    if is_first():
        _LOGGER.warning(line)


class Throttle:
    """Tells when it is time for another line about a loop: `EVERY` seconds after the last one.

    Args:
        at_terminal: the seconds if standard error is a terminal and not a notebook, at most `EVERY`.
    """

    def __init__(self, at_terminal: float = math.inf) -> None:
        self._at_terminal = at_terminal
        self._last = time.monotonic()

    def __call__(self) -> bool:
        """Whether it is time; the next interval begins then."""
        now = time.monotonic()
        due = now - self._last >= (min(self._at_terminal, EVERY) if redraws(sys.stderr) else EVERY)
        if due:
            self._last = now
        return due


class Pace:
    """Prints the progress of a loop once a minute.

    Args:
        what: what is counted, such as `epoch 1/4: batches`.
        total: how many there will be; infinite if unknown.
        before: how many were done before the start.
    """

    def __init__(self, what: str, total: float, before: int = 0) -> None:
        self.what, self.total, self.before = what, total, before
        self._began = time.monotonic()
        self._due = Throttle()

    def __call__(self, done: int) -> None:
        """Prints a line if a minute has passed since the last one.

        Args:
            done: how many are done.
        """
        if not self._due():
            return
        if math.isinf(self.total):
            stage(f"{self.what}: {done:,}")
            return
        left = (time.monotonic() - self._began) / 60 * (self.total - done) / max(done - self.before, 1)
        stage(f"{self.what}: {done:,} of {self.total:,}, {minutes(left)} left")


def minutes(number: float) -> str:
    """A duration in words, as in `about 3 minutes`."""
    whole = round(number)
    return "less than a minute" if whole < 1 else f"about {counted(whole, 'minute')}"


def paced(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Iterates over items, with a line about the progress once a minute."""
    pace = Pace(what, total)
    for done, item in enumerate(items, start=1):
        yield item
        pace(done)


@contextmanager
def printed(where: Literal["stdout", "stderr"]) -> Iterator[None]:
    """Prints the lines while a command runs, on the first of several ranks; warnings go to stderr.

    Args:
        where: `stderr` for a command whose standard output is its result.
    """
    handler, before = _Lines(where), _LOGGER.level
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.INFO if is_first() else logging.WARNING)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(before)


class _Lines(logging.Handler):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def emit(self, record: logging.LogRecord) -> None:
        # Looked up each time: tests and callers may replace the stream.
        stream = sys.stderr if record.levelno >= logging.WARNING else getattr(sys, self.where)
        with suppress(OSError, RuntimeError):  # neither a full disk nor a closed terminal stops a run
            write_line(stream, printable(record.getMessage(), keep="\n"))
