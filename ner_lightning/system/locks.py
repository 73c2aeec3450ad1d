"""Locks: of several commands that would write the same file, one at a time does."""

import fcntl
from functools import cache
from pathlib import Path
from typing import IO, Any

from ner_lightning.system.progress import warn


def lock(opened: IO[Any], file: Path, *, wait: bool) -> bool:
    """Locks an open file against other commands until it is closed.

    A file system may have no locks: then nothing is locked, and a warning says so, once.

    Args:
        opened: the file.
        file: what it protects.
        wait: whether to wait until no other command has it.

    Returns:
        whether it is locked.

    Raises:
        BlockingIOError: another command has locked it.
    """
    try:
        fcntl.flock(opened, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        _warn_unlocked(file, error.strerror)
        return False
    return True


@cache
def _warn_unlocked(file: Path, reason: str | None) -> None:
    warn(f"{file} cannot be locked ({reason}); let no other command write it meanwhile.")
