"""The files of a folder: which are read, and which are left out."""

from collections.abc import Sequence
from pathlib import Path

from ner_lightning.data.readers.formats import SUFFIXES
from ner_lightning.system.progress import stage

COMPANIONS = (".ann", ".conf")  # what brat has beside texts


def is_read(name: str, form: str | None) -> bool:
    """Whether a file of a folder is read; `form` is the format that is named, and then any suffix will do."""
    suffix = Path(name).suffix.lower()
    return suffix not in COMPANIONS if form == "brat" else form is not None or suffix in SUFFIXES


def say_left_out(folder: str | Path, names: Sequence[str]) -> None:
    """Says which files of a folder have suffixes that are not read."""
    read = {*SUFFIXES, *COMPANIONS}
    others = [name for name in names if Path(name).suffix.lower() not in read]
    if others:
        shown = ", ".join([*others[:3], "..."] if len(others) > 3 else others)
        stage(f"{folder}: {len(others):,} files of other kinds are not read: {shown}.")
