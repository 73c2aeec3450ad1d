"""The run folder: where a run's files are, and how a run or its `best` or `last` checkpoint is found."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ner_lightning.errors import UserError
from ner_lightning.system.atomic import sweep, write_text
from ner_lightning.system.progress import warn
from ner_lightning.system.user_paths import expanded

BEST, LAST = "best", "last"
POINTER = "last.txt"  # names the last run where the file system has no links
CHECKPOINTS = "checkpoints"  # the folder in that of a run
MANIFEST = "ner_lightning.json"  # a folder with this file is an exported one
STAGES = {"valid": "val", "test": "test"}  # by split: Lightning's stage, with which its metrics' names begin
SPLIT_OF = {stage: split for split, stage in STAGES.items()}
# How a stopped run is resumed, by the command that made it.
RESUME = {
    "fit": "ner-lightning fit {}",
    "distill": "ner-lightning fit {}",
    "pretrain": "ner-lightning pretrain --run {}",
    "baseline": "ner-lightning baseline --run {}",
}
RECIPE = "recipe.yaml"  # what a run of another command than `fit` is resumed with


@dataclass(frozen=True)
class Run:
    """One run's folder, `runs/NAME/NUMBER`.

    It holds `config.yaml`, `run.json` (command, versions, data), `checkpoints/{best,last}.ckpt`,
    `metrics.csv`, `metrics.json`, `train_{entities,sentences}.json` and `predictions.SPLIT.{jsonl,conll}`.
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / CHECKPOINTS

    def checkpoint(self, which: str) -> Path:
        """The file of checkpoint `best` or `last`."""
        return self.checkpoints / f"{which}.ckpt"

    def is_not_best(self, checkpoint: Path) -> bool:
        """Whether the run has a best checkpoint, of which its scores are, and this is another one."""
        best = self.checkpoint(BEST)
        return best.is_file() and checkpoint.resolve() != best.resolve()

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; empty if it is not there.

        Raises:
            UserError: it is not JSON, or no object.
        """
        file = self.path / name
        if not file.is_file():
            return {}
        try:
            content: Any = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file}: not JSON: {error}; restore the file, or remove it") from None
        if not isinstance(content, dict):
            raise UserError(f"{file}: not a JSON object; restore the file, or remove it")
        return content

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file of the folder, whole or not at all."""
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_text(self.path / name, text)

    def update(self, name: str, content: Mapping[str, Any]) -> None:
        """Sets some keys of a JSON file of the folder."""
        self.write(name, self.read(name) | dict(content))

    def sweep(self) -> None:
        """Removes the partly written files of killed processes."""
        for folder in (self.path, self.checkpoints, self.path.parent.parent):
            sweep(folder)

    def point_last(self) -> None:
        """Lets the link `runs/last` point to this run, or names it in a file where links cannot be made."""
        root = self.path.parent.parent
        pointer, own = root / POINTER, self.path.relative_to(root)
        fresh = root / f".{LAST}.{os.getpid()}.tmp"
        fresh.unlink(missing_ok=True)
        try:
            fresh.symlink_to(own, target_is_directory=True)
        except OSError as error:
            known = pointer.exists()
            write_text(pointer, f"{own}\n")
            if not known:
                warn(f"{root / LAST} cannot be a link ({error.strerror}), so {pointer} names the last run.")
            return
        fresh.replace(root / LAST)
        pointer.unlink(missing_ok=True)


def create(root: Path, name: str) -> Run:
    """Creates the next free folder `root/name/1`, `root/name/2`, ...

    Raises:
        UserError: the folder cannot be created, or the name leads out of it.
    """
    if not name or name != Path(name).name or name in {".", "..", LAST}:
        raise UserError(f"--name {name!r} cannot be the name of a folder inside {root}")
    if (root / LAST).exists() and not (root / LAST).is_symlink():
        raise UserError(f"{root / LAST} is not a link to a run, and would be replaced by one; move it away")
    folder = root / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = max((int(taken.name) for taken in numbered(folder)), default=0)
        while True:
            number += 1
            with suppress(FileExistsError):  # another process took this number just now
                (folder / str(number) / CHECKPOINTS).mkdir(parents=True)
                return Run(folder / str(number))
    except OSError as error:
        raise UserError(f"the run folder {folder} cannot be written: {error.strerror}") from None


def numbered(folder: Path) -> list[Path]:
    """The folders of the runs in `runs/NAME`, by number."""
    found = [item for item in folder.glob("*") if item.name.isdecimal()]
    return sorted(found, key=lambda item: int(item.name))


def check_writable(run: Run) -> None:
    """Checks that results can be written beside a run's checkpoints.

    Raises:
        UserError: they cannot.
    """
    if not os.access(run.path, os.W_OK):
        raise UserError(
            f"the run folder {run.path} cannot be written.\n"
            "Fix its permissions, or copy its checkpoint and name the copy: --ckpt_path FILE"
        )


def short(path: Path) -> Path:
    """A path relative to the working folder, if it is inside."""
    whole = path.resolve()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else path


def resume_command(run: Run, command: str) -> str:
    """What resumes a run here that a command of `RESUME` made."""
    return RESUME[command].format(short(run.path))


def remove_empty(run: Run) -> None:
    """Removes the folder of a run that failed before it wrote anything, and its empty parents."""
    with suppress(OSError):  # not empty
        for folder in (run.checkpoints, run.path, run.path.parent, run.path.parent.parent):
            folder.rmdir()


def run_path(address: str | Path | None, root: Path) -> Path:
    """The path of a run, a checkpoint or a folder as a user names it; it may not exist.

    Args:
        address: its name; None or empty for the last run.
        root: the folder of runs, for None.
    """
    path = expanded(address) if address else expanded(root) / LAST
    pointer = path.parent / POINTER
    if path.name == LAST and not path.exists() and pointer.is_file():
        return path.parent / pointer.read_text(encoding="utf-8").strip()
    return path


def resolve(address: str | Path | None, which: str, root: Path) -> Path:
    """Finds a checkpoint.

    Args:
        address: a run folder, a checkpoint file, or None for the last run.
        which: `best` or `last`, for a run folder.
        root: the folder of runs, for None.

    Raises:
        UserError: there is no such run or checkpoint.
    """
    if address == "":
        raise UserError("the name of the run is empty; name a run folder or checkpoint, or leave it out")
    path = run_path(address, root)
    if path.is_file():
        return path
    if address is None and not path.is_dir():
        raise UserError(
            f"there is no last run in {root}; train one with `ner-lightning fit --config FILE`, "
            "or name a run with --run"
        )
    if not path.is_dir():
        raise UserError(f"there is no run folder or checkpoint {address}")
    checkpoint = Run(path.resolve()).checkpoint(which)
    if (path / MANIFEST).is_file():
        raise UserError(
            f"{path} is an exported folder, for predict, serve and distill;\n"
            "name the run that it was exported from"
        )
    if not checkpoint.is_file():
        if not checkpoint.parent.is_dir():
            check_holds_no_runs(path)
        others = sorted(checkpoint.parent.glob("*.ckpt"))
        has = f"it has: {', '.join(file.stem for file in others)}" if others else "it has none"
        last = Run(path.resolve()).checkpoint(LAST)
        raise UserError(
            f"{path} has no checkpoint `{which}` ({has})"
            + (
                f".\nIt ended before a validation. Use its last one: {short(last)} in place of the run "
                "folder, or --ckpt_path last for fit, validate and test"
                if last in others
                else ""
            )
        )
    return checkpoint


def check_holds_no_runs(folder: Path) -> None:
    """Checks that a folder is not one of several runs, as `runs/NAME` and `runs` are.

    Raises:
        UserError: it is.
    """
    if inside := numbered(folder)[-1:] or sorted(file.parent for file in folder.glob("*/*/run.json")):
        such = ", ".join(str(short(item)) for item in inside[:5])
        raise UserError(f"{folder} holds runs; name one of them, such as {such}")


def run_of(checkpoint: Path) -> Run | None:
    """The run folder of a checkpoint; None if it is not in one."""
    folder = checkpoint.resolve().parent.parent
    return Run(folder) if (folder / "run.json").is_file() else None
