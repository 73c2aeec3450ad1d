"""Permissions: who may read a file that a library wrote for its writer alone."""

from contextlib import suppress
from pathlib import Path


def open_to_readers_of(file: Path, folder: Path) -> None:
    """Lets those read a folder's files who may read another file: safetensors writes for its writer alone.

    A file system without permissions lets everybody read them as it is.
    """
    mode = file.stat().st_mode
    for item in (item for item in folder.rglob("*") if item.is_file()):
        with suppress(OSError):
            item.chmod(mode)
