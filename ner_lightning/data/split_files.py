"""Files of splits in a folder, found by their names."""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ner_lightning.data.readers.arrow import is_saved_dataset, saved_splits
from ner_lightning.data.readers.brat import annotation_beside
from ner_lightning.data.readers.folder_files import is_read
from ner_lightning.data.readers.formats import SUFFIXES
from ner_lightning.errors import UserError
from ner_lightning.system.progress import warn
from ner_lightning.system.shards import name_without_numbers, with_its_shards
from ner_lightning.system.terminal import listed
from ner_lightning.system.visible_files import visible_files

# Names of a split's file, folder or Hub split.
ALIASES = {"train": ("train",), "valid": ("validation", "valid", "dev", "val", "devel"), "test": ("test",)}
_SPLIT_OF = {alias: split for split, aliases in ALIASES.items() for alias in aliases}
_SPLIT_OF_PART = _SPLIT_OF | {"testa": "valid", "testb": "test"}  # as in CoNLL-2003's eng.testa
_INNER = "data"  # where a repository of the Hub has its files
_RESULTS = "predictions"  # begins the names of what a run writes beside its test
_LISTED = 4


def split_paths(folder: Path) -> dict[str, list[Path]]:
    """The files and folders that each split may be read from; shards are one path, with a `*`.

    They are in the folder or in its folder `data`, as in a clone from the Hub. They are named as a split, or
    a split's name is a part of theirs, as in `eng.train`; then all files must have one, of its own.
    """
    places = [folder, folder / _INNER]
    found = (place for find in (_named, _partly_named) for place in places if find(_paths_in(place)))
    return splits_in(next(found, folder))


def splits_in(folder: Path, new: Iterable[Path] = ()) -> dict[str, list[Path]]:
    """The files and folders of each split that are in a folder itself.

    Args:
        folder: may be missing.
        new: files that will be there.
    """
    paths = _paths_in(folder, new)
    named, partly = _named(paths), _partly_named(paths)
    both = {split: list(dict.fromkeys([*named.get(split, []), *partly.get(split, [])])) for split in ALIASES}
    return {split: found for split, found in both.items() if found}


def say_unread(folder: Path, read: Iterable[Path]) -> None:
    """Says which data files in a folder or below it no split is read from, since nothing else would tell.

    Args:
        folder: the folder; of one that `save_to_disk` wrote, its other splits are named.
        read: the files and folders of the splits, or a name with a `*` for shards.
    """
    known = {path.absolute() for path in read}
    is_saved = is_saved_dataset(folder)
    there = saved_splits(folder).values() if is_saved else visible_files(folder)
    names = [
        str(path.relative_to(folder))
        for path in there
        if (is_saved or is_read(path.name, None))
        and known.isdisjoint(each.absolute() for each in (path, with_its_shards(path), *path.parents))
    ]
    if names and known:
        warn(
            f"{folder}: {len(names):,} files are not read, as they are of no known split: "
            f"{listed(names, _LISTED)}; data.train, data.valid and data.test name files."
        )


def _paths_in(folder: Path, new: Iterable[Path] = ()) -> dict[Path, str]:
    """The files and folders in a folder, in order, with their names; shards are one path, with a `*`."""
    there = folder.iterdir() if folder.is_dir() else ()
    return {with_its_shards(path): path.name for path in sorted({*there, *new})}


def _named(paths: Mapping[Path, str]) -> dict[str, list[Path]]:
    """The files and folders that are named as a split, in any case, and by whichever alias."""
    found: dict[str, list[Path]] = {}
    for path, full in paths.items():
        name = Path(name_without_numbers(full).lower())
        split = _SPLIT_OF.get(name.stem)
        if split and name.suffix in ("", *SUFFIXES):
            found.setdefault(split, []).append(path)
    return found


def _partly_named(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """The files whose names have a split as one of their parts; none unless all do, one for each split."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        parts = re.split(r"[._-]", path.name.lower())
        is_data = is_read(path.name, None) or parts[-1] in _SPLIT_OF_PART
        if not is_data or path.is_dir() or parts[0] in ("", _RESULTS):
            continue
        splits = {_SPLIT_OF_PART[part] for part in parts if part in _SPLIT_OF_PART}
        if len(splits) != 1 or annotation_beside(path) or splits & found.keys():
            return {}
        found[splits.pop()] = [path]
    return found


def several_splits(path: Path) -> str:
    """The names of files of different splits in a folder or below it; empty if there are not several."""
    if not path.is_dir():
        return ""
    inner = (path / parent for file in visible_files(path) for parent in file.relative_to(path).parents)
    for place in dict.fromkeys([path, *inner]):
        found = splits_in(place)
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


def similar(file: Path) -> str:
    """The file of a similar name beside one that is not there, as a question; empty if there is none."""
    names = [path.name for path in file.parent.glob("*") if path.is_file()]
    close = difflib.get_close_matches(file.name, names, n=1)
    return f"; did you mean {file.with_name(close[0])}?" if close else ""
