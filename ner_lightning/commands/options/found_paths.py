"""Relative paths in a run's settings, found again from any working folder."""

import copy
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ner_lightning.commands.options.config_files import read_config
from ner_lightning.data.sources import SAMPLE
from ner_lightning.errors import UserError
from ner_lightning.runs.folder import Run
from ner_lightning.runs.provenance import WORKING_FOLDER
from ner_lightning.system.first_rank import is_first
from ner_lightning.system.terminal import printable, write_line
from ner_lightning.system.user_paths import expanded

# Settings that may be a path. Some may be something else as well, which is no file anywhere.
PATHS = (
    *(f"data.{name}" for name in ("dataset", "train", "valid", "test", "files.tag_names")),
    *("data.supervision.sentence_weights", "data.supervision.teacher"),
)
BACKBONE = "model.backbone"  # a checkpoint knows where its own was


def found_path(path: str, run: Run | None) -> str:
    """A path as it is, or where it was from a run's working folder if it is there and not here.

    Args:
        path: as the run's user wrote it.
        run: None, a run of an earlier version or one from another machine has no such folder.
    """
    return _found(path, _folder_of(run))


def found_paths(config: Any, run: Run | None, keys: Iterable[str] = PATHS) -> dict[str, str]:
    """The settings, by dotted key, whose paths are found from a run's working folder and not from here."""
    written = {key: value for key in keys if isinstance(value := _value(config, key), str)}
    if written.get("data.dataset") == SAMPLE:
        del written["data.dataset"]
    folder = _folder_of(run)
    now = {key: _found(value, folder) for key, value in written.items()}
    return {key: value for key, value in now.items() if value != written[key]}


def with_found_paths(config: Any, run: Run | None, keys: Iterable[str] = PATHS) -> Any:
    """A run's settings with the paths of `found_paths`."""
    moved = found_paths(config, run, keys)
    if not moved:
        return config
    config = copy.deepcopy(config)
    for key, value in moved.items():
        group, _, name = key.rpartition(".")
        _value(config, group)[name] = value
    return config


def settings_of(run: Run, name: str) -> Any:
    """The settings in a file of a run's folder, with paths that are found from here."""
    return with_found_paths(read_config(run.path / name), run, (*PATHS, BACKBONE))


@contextmanager
def explaining_paths(config: Any, run: Run | None) -> Iterator[None]:
    """Errors in the block that name a path of a run's settings say from where it was read in training."""
    try:
        yield
    except UserError as error:
        folder = _folder_of(run)
        lost = [key for key in PATHS if _is_lost(_value(config, key), folder) and _value(config, key)]
        named = next((key for key in lost if f" {_value(config, key)}" in str(error)), None)
        if named is None or run is None or not _was_local(run):
            raise
        raise UserError(
            f"{error}\nThe run was trained in {folder}, from where it is not found either; "
            f"say where it is now: --{named} PATH"
        ) from None


def _found(path: str, folder: Path | None) -> str:
    if folder is None or _exists(expanded(path)) or not _exists(folder / expanded(path)):
        return path
    there = str((folder / expanded(path)).resolve())
    _tell(path, there)
    return there


def _folder_of(run: Run | None) -> Path | None:
    folder = None if run is None else run.read("run.json").get(WORKING_FOLDER)
    return Path(folder) if isinstance(folder, str) else None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a list of tags is too long for a name
        return False


def _is_lost(path: Any, folder: Path | None) -> bool:
    if not isinstance(path, str) or folder is None or expanded(path).is_absolute():
        return False
    return not any(map(_exists, (expanded(path), folder / path)))


def _was_local(run: Run) -> bool:
    """Whether the data were files; otherwise a name of the settings may be one on the Hub."""
    parts = run.read("run.json").get("data", {}).values()
    return any(str(part.get("fingerprint")).startswith("sha256:") for part in parts)


def _value(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


@cache  # once, however often a command reads its settings
def _tell(path: str, there: str) -> None:
    line = f"{path} is not found from this folder; it is read from that of the training: {there}"
    if is_first():
        write_line(sys.stderr, printable(line))
