"""Lines for the user at the terminal, on the first rank; files whose failure stops no training."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from ner_lightning.system.first_rank import is_first
from ner_lightning.system.terminal import printable, write_line


def say(line: str, keep: str = "\n") -> None:
    """Prints a line for the user, on the first of several ranks.

    A closed terminal, or a log file on a full disk, stops no training.

    Args:
        line: the text, which may contain data.
        keep: control characters that are not escaped.
    """
    if not is_first():
        return
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: a signal came while printing
        write_line(sys.stdout, printable(line, keep))


def best_effort(file: Path, write: Callable[[], None]) -> None:
    """Writes a file that training does not need; a failure is reported and training continues."""
    try:
        write()
    except OSError as error:
        say(f"{file} could not be written ({error.strerror or error}); training continues without it.")
