"""Atomic writes: a file is replaced in one step, so that a reader finds the old or the new one, whole."""

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO

_DRAFT = re.compile(r"\..+\.(\d+)\.tmp")


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a draft beside the file, which replaces it once written and flushed to disk.

    If the block raises, the draft is removed and the file is unchanged.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = error.filename or str(path)  # a failed write names no file
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # some file systems cannot flush a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def is_written_through(path: str | Path) -> bool:
    """Whether a file is a link, a pipe or a device such as /dev/stdout, which must not be replaced."""
    path = Path(path)
    return path.is_symlink() or (path.exists() and not path.is_file())


@contextmanager
def replacing_text(path: str | Path) -> Iterator[TextIO]:
    """The same for UTF-8 text; what `is_written_through` is written directly."""
    if is_written_through(path):
        with Path(path).open("w", encoding="utf-8", newline="\n") as direct:
            yield direct
        return
    with replacing(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="\n")
        try:
            yield text
        finally:
            text.detach()


def sweep(folder: Path) -> None:
    """Removes drafts of processes on this machine that were killed while writing."""
    for file in folder.glob(".*.tmp"):
        found = _DRAFT.fullmatch(file.name)
        if found is None or is_alive(int(found[1])):
            continue
        with contextlib.suppress(OSError):
            file.unlink()


def is_alive(process: int) -> bool:
    """Whether a process exists on this machine, of any user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is another user's
    return True


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one step."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))
