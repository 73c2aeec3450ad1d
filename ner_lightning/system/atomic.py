"""Files that are replaced in one step: a reader finds the old one or the new one, never half of one."""

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_DRAFT = re.compile(r"\..+\.(\d+)\.tmp")


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a draft beside the file, which takes its place once it is written and flushed to the disk.

    If the block raises, the draft is removed and the file is as it was.
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


def sweep(folder: Path) -> None:
    """Removes the drafts of processes of this machine that were killed while writing."""
    for file in folder.glob(".*.tmp"):
        found = _DRAFT.fullmatch(file.name)
        if found is None or is_alive(int(found[1])):
            continue
        with contextlib.suppress(OSError):
            file.unlink()


def is_alive(process: int) -> bool:
    """Whether a process of this machine is there, whoever it belongs to."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is another user's
    return True


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))
