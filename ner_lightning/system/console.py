"""Lines for the person at the terminal; files that a command can do without."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from lightning_utilities.core.rank_zero import rank_zero_only

from ner_lightning.system.terminal import printable


@rank_zero_only
def say(line: str, keep: str = "\n") -> None:
    """Prints a line for the person at the terminal, on rank 0.

    A terminal that is gone, or a log file on a full disk, stops no training.

    Args:
        line: text, from data in part.
        keep: characters that a terminal may obey.
    """
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: a signal came while printing
        sys.stdout.write(printable(line, keep) + "\n")
        sys.stdout.flush()


def best_effort(file: Path, write: Callable[[], None]) -> None:
    """Writes a file that training can do without: where that fails it says so and goes on."""
    try:
        write()
    except OSError as error:
        say(f"{file} could not be written ({error.strerror or error}); training goes on, without it so far.")
