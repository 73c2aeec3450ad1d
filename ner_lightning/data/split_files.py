"""Files of splits in a folder, found by their names."""

from pathlib import Path

from ner_lightning.data.readers.formats import SUFFIXES
from ner_lightning.errors import UserError

# Names of a split's file, folder or Hub split.
ALIASES = {"train": ("train",), "valid": ("validation", "valid", "dev", "val", "devel"), "test": ("test",)}


def split_paths(folder: Path) -> dict[str, list[Path]]:
    """The files and folders in a folder that each split may be read from."""
    return {
        split: [
            folder / (alias + suffix)
            for alias in aliases
            for suffix in ("", *SUFFIXES)
            if (folder / (alias + suffix)).exists()
        ]
        for split, aliases in ALIASES.items()
    }


def check_one_split(split: str, path: Path) -> None:
    """Checks that what is read as one split is not a folder with several, which would be read together.

    Raises:
        UserError: it is.
    """
    held = [found[0] for found in split_paths(path).values() if found] if path.is_dir() else []
    if len(held) > 1:
        raise UserError(
            f"data.{split}: {path} has files of several splits ({', '.join(each.name for each in held)});\n"
            f"name the one of {split}, or the folder as data.dataset"
        )
