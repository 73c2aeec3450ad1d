"""Locks: of several commands that would write the same file, one at a time does."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO

from ner_lightning.errors import UserError
from ner_lightning.system.progress import warn

FOLDER_LOCK = ".lock"  # the file in a folder that is locked for the folder


class LockedError(UserError):
    """Another command has locked what this one needs."""


@contextmanager
def in_turn(file: Path) -> Iterator[None]:
    """Waits until no other command is within it for the same file or folder, which it may then replace.

    Args:
        file: its lock is a hidden file beside it, which stays.
    """
    with file.with_name(f".{file.name}.lock").open("w") as opened:
        _lock(opened, file, fcntl.LOCK_EX)
        yield


def locked(file: Path, refusal: str) -> BinaryIO:
    """Opens a file, or creates it, and locks it against other commands until it is closed.

    Args:
        file: it may be renamed or removed by who has locked it.
        refusal: what to say where another command has locked it.

    Raises:
        LockedError: another command has.
    """
    while True:
        opened = file.open("ab")
        try:
            if not _lock(opened, file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                return opened
        except BlockingIOError:
            opened.close()
            raise LockedError(refusal) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(opened.fileno()), file.stat()):
                return opened
        opened.close()  # the command that had locked it has just renamed or removed it


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Within it, no other command that must have a folder to itself gets this one.

    Raises:
        LockedError: another command is writing the folder.
        UserError: it cannot be written.
    """
    file = folder / FOLDER_LOCK
    try:
        opened = locked(file, f"another command is writing {folder}; wait until it ends, or stop it")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from None
    with opened:
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def _lock(opened: IO[Any], file: Path, operation: int) -> bool:
    """Locks an open file against other commands until it is closed, and returns whether it is locked.

    A file system may have no locks: then nothing is locked, and a warning says so, once.

    Raises:
        BlockingIOError: another command has locked it.
    """
    try:
        fcntl.flock(opened, operation)
    except BlockingIOError:
        raise
    except OSError as error:
        _warn_unlocked(file, error.strerror)
        return False
    return True


@cache
def _warn_unlocked(file: Path, reason: str | None) -> None:
    warn(f"{file} cannot be locked ({reason}); let no other command write it meanwhile.")
