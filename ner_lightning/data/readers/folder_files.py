"""The files of a folder: which are read, and which are left out."""

import os
from collections.abc import Sequence
from pathlib import Path

from ner_lightning.data.readers.formats import SUFFIXES
from ner_lightning.data.sentence import DataError
from ner_lightning.system.progress import stage

COMPANIONS = (".ann", ".conf")  # what brat has beside texts


def say_left_out(folder: str | Path, names: Sequence[str]) -> None:
    """Says which files of a folder have suffixes that are not read."""
    read = {*SUFFIXES, *COMPANIONS}
    others = [name for name in names if Path(name).suffix.lower() not in read]
    if others:
        shown = ", ".join([*others[:3], "..."] if len(others) > 3 else others)
        stage(f"{folder}: {len(others):,} files of other kinds are not read: {shown}.")


def visible_files(folder: Path) -> list[Path]:
    """The files of a folder and those below it, in order of their names, without hidden ones.

    Raises:
        DataError: a link leads nowhere.
    """
    found: list[Path] = []
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link to a folder that is read already, perhaps to one above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if not name.startswith(".")]
    for path in found:
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path}: cannot be read: it is a link to {path.readlink()}, which is not there")
    return sorted(path for path in found if path.is_file())
