"""The files of a folder that a reader sees."""

import os
from pathlib import Path

from ner_lightning.errors import UserError


def visible_files(folder: Path) -> list[Path]:
    """The files of a folder and those below it, in order of their names, without hidden ones.

    Raises:
        UserError: a link leads nowhere.
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
            raise UserError(f"{path}: cannot be read: it is a link to {path.readlink()}, which is not there")
    return sorted(path for path in found if path.is_file())
