"""Trains a cell of a ladder in a process of its own, after the ensemble from which it learns is made."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ner_lightning.commands.ladder_runs.ladder_state import find
from ner_lightning.commands.lightning_cli.training_process import STOPPED, started
from ner_lightning.errors import Interrupted, UserError
from ner_lightning.system.locks import in_turn, only_writer

if TYPE_CHECKING:  # reading runs needs torch, and `--help` must not wait for it
    from ner_lightning.runs.folder import Run
    from ner_lightning.runs.ladder_cells import Cell, Ladder


def print_indented(text: str) -> None:
    """Prints lines about a cell, below its name."""
    sys.stdout.write("".join(f"    {line}\n" for line in text.splitlines()))


def _put_together(ladder: "Ladder", cell: "Cell", root: Path) -> None:
    """Makes the ensemble from which a cell learns, if it is not there.

    Raises:
        UserError: a member is not trained, or they cannot be put together.
    """
    from ner_lightning.commands import ensemble
    from ner_lightning.runs.folder import Run
    from ner_lightning.runs.ladder_cells import is_done

    if not cell.teacher:
        return
    members = [(member.name, find(ladder, member, root)) for member in ladder.teachers[cell.teacher]]
    missing = [name for name, run in members if run is None or not is_done(run)]
    if missing:
        raise UserError(f"its teacher lacks {', '.join(missing)}")
    paths = [str(run.path) for _, run in members if run is not None]
    folder = root / cell.teacher
    with in_turn(folder.parent):  # another agent of a sweep may be making it
        if (folder / "run.json").is_file():
            if [one["run"] for one in Run(folder).read("run.json").get("members", ())] == paths:
                return
            raise UserError(f"{folder} is not the ensemble of {', '.join(paths)}; remove it")
        shutil.rmtree(folder, ignore_errors=True)  # one that was being made when it was killed
        ensemble.run("ensemble", [*paths, "--runs", str(root), "--name", folder.parent.name])


def train_cell(
    ladder: "Ladder", cell: "Cell", run: "Run | None", root: Path, trust: list[str], cell_lock: IO[bytes]
) -> "Run | None":
    """Trains a cell that is not done, from where it stopped; None if that failed.

    Args:
        ladder: the ladder.
        cell: the cell.
        run: its run, to be resumed; None for a new one.
        root: where its runs are.
        trust: the option that allows code to be run, or none.
        cell_lock: the cell's lock, which its training has as well: it may outlive a ladder that is killed.

    Raises:
        UserError: it cannot be trained.
    """
    from ner_lightning.runs.ladder_cells import RECIPE_VARIABLE, find_runs, recipe_digest

    before = find_runs(cell, root)
    _put_together(ladder, cell, root)
    if run is None and before:
        print_indented(
            "its run is of another recipe or other data, or was not made by a ladder: it is run again"
        )
    # A run that is resumed has its recipe stored, and the digest of it.
    recipe = {RECIPE_VARIABLE: recipe_digest(ladder, cell)} if run is None else {}
    words = cell.command(root) if run is None else ["fit", "--run", str(run.path)]
    earlier = 0.0 if run is None else run.read("run.json").get("minutes")
    if run is not None:
        _note_minutes(run, None)  # those of a part that is killed are not known
    began = time.monotonic()
    command = [sys.executable, "-m", "ner_lightning", *words, *trust]
    code = _run_logged(command, root / f"{cell.name}.log", recipe, cell_lock)
    run = run or next((made for made in find_runs(cell, root) if made not in before), None)
    if run is not None:
        _note_minutes(run, None if earlier is None else earlier + (time.monotonic() - began) / 60)
    if code in STOPPED:
        raise Interrupted(STOPPED[code])
    if code == 0 and run != find(ladder, cell, root):
        raise UserError("its recipe or its data have changed meanwhile, so its result is not recorded")
    return run if code == 0 else None


def _note_minutes(run: "Run", minutes: float | None) -> None:
    """Notes how long a run was trained, unless another command is writing that run."""
    with suppress(UserError), only_writer(run.path):
        run.update("run.json", {"minutes": minutes})


def _run_logged(command: list[str], log: Path, environment: Mapping[str, str], cell_lock: IO[bytes]) -> int:
    """Runs a command, prints its output and appends it to a file; returns its exit code.

    Args:
        command: the command.
        log: the file.
        environment: variables beside those of this process.
        cell_lock: a file that the command has open as well, so that it is locked as long.
    """
    options: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "pass_fds": [cell_lock.fileno()],
    }
    options["env"] = {**os.environ, **environment}
    with log.open("a", encoding="utf-8") as file, started(command, **options) as process:
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            sys.stdout.write(f"    {line}")
            sys.stdout.flush()
    return int(process.returncode)
