"""Files of splits in a folder, found by their names."""

import re
from pathlib import Path

from ner_lightning.data.readers.brat import annotation_beside
from ner_lightning.data.readers.folder_files import is_read
from ner_lightning.data.readers.formats import SUFFIXES
from ner_lightning.errors import UserError
from ner_lightning.system.shards import name_without_numbers, with_its_shards
from ner_lightning.system.terminal import listed
from ner_lightning.system.visible_files import visible_files

# Names of a split's file, folder or Hub split.
ALIASES = {"train": ("train",), "valid": ("validation", "valid", "dev", "val", "devel"), "test": ("test",)}
_SPLIT_OF = {alias: split for split, aliases in ALIASES.items() for alias in aliases}
_SPLIT_OF_PART = _SPLIT_OF | {"testa": "valid", "testb": "test"}  # as in CoNLL-2003's eng.testa
_INNER = "data"  # where a repository of the Hub has its files
_LISTED = 4


def split_paths(folder: Path) -> dict[str, list[Path]]:
    """The files and folders that each split may be read from; shards are one path, with a `*`.

    They are in the folder or in its folder `data`, as in a clone from the Hub. If none is named as a split,
    a split's name may be a part of theirs, as in `eng.train`; then all files must have one, of its own.
    """
    places = [folder, folder / _INNER]
    found = (found for find in (named_paths, _partly_named) for place in places if (found := find(place)))
    return next(found, {})


def named_paths(folder: Path) -> dict[str, list[Path]]:
    """The files and folders in a folder that are named as a split, in any case, and by whichever alias."""
    found: dict[str, list[Path]] = {split: [] for split in ALIASES}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = Path(name_without_numbers(path.name).lower())
        split = _SPLIT_OF.get(name.stem)
        one = with_its_shards(path)
        if split and name.suffix in ("", *SUFFIXES) and one not in found[split]:
            found[split].append(one)
    return {split: paths for split, paths in found.items() if paths}


def _partly_named(folder: Path) -> dict[str, list[Path]]:
    """The files whose names have a split as one of their parts; none unless all do, one for each split."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        parts = re.split(r"[._-]", path.name.lower())
        is_data = is_read(path.name, None) or parts[-1] in _SPLIT_OF_PART
        if not is_data or not path.is_file() or path.name.startswith("."):
            continue
        splits = {_SPLIT_OF_PART[part] for part in parts if part in _SPLIT_OF_PART}
        if len(splits) != 1 or annotation_beside(path) or splits & found.keys():
            return {}
        found[splits.pop()] = [path]
    return {split: found[split] for split in ALIASES if split in found}


def several_splits(path: Path) -> str:
    """The names of files of different splits in a folder or below it; empty if there are not several."""
    if not path.is_dir():
        return ""
    inner = (path / parent for file in visible_files(path) for parent in file.relative_to(path).parents)
    for place in dict.fromkeys([path, *inner]):
        found = named_paths(place) or _partly_named(place)
        if len(found) > 1:
            return ", ".join(str(paths[0].relative_to(path)) for paths in found.values())
    return ""


def check_one_split(split: str, path: Path) -> None:
    """Checks that what is read as one split is not a folder with several, which would be read together.

    Raises:
        UserError: it is.
    """
    if names := several_splits(path):
        raise UserError(
            f"data.{split}: {path} has files of several splits ({names});\n"
            f"name the one of {split}, or the folder as data.dataset"
        )


def no_split(folder: Path) -> str:
    """What is wrong with a folder without a file of any split, and what to do."""
    names = [str(path.relative_to(folder)) for path in visible_files(folder)]
    return (
        f"{folder}: no train, valid or test file in this folder"
        f" ({f'it has {listed(names, _LISTED)}' if names else 'it is empty'});\n"
        "name one of its files, or each split's: --data.train, --data.valid, --data.test; to divide them:\n"
        f"ner-lightning data split {folder} --output DIR"
    )
