"""`ner-lightning ladder`: runs the cells of a ladder, one after the other, and makes their table."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.commands.ladder_rows import record
from ner_lightning.commands.ladder_state import current_cells, find, state
from ner_lightning.commands.lightning_cli.training_process import STOPPED, started
from ner_lightning.commands.options.command_line import Parser
from ner_lightning.errors import Interrupted, UserError
from ner_lightning.system.locks import lock

if TYPE_CHECKING:  # reading runs needs torch, and `--help` must not wait for it
    from ner_lightning.runs.folder import Run
    from ner_lightning.runs.ladder_cells import Cell, Ladder


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake, or after all other cells if some failed."""
    options = parser(subcommand).parse_args(args)
    if options.results and Path(options.results).suffix.lower() != ".json":
        raise UserError(f"--results {options.results} is written as JSON; name it .json")
    from ner_lightning.commands.options.consent import FLAG
    from ner_lightning.runs.ladder_cells import sweep
    from ner_lightning.runs.ladder_file import read_ladder
    from ner_lightning.system.atomic import write_text

    file = Path(options.file)
    ladder = read_ladder(file)
    root = Path(options.runs) / ladder.name
    results = Path(options.results) if options.results else root / "results.json"
    cells = _chosen(ladder, options.cell, file)
    if options.list:
        for cell in cells:
            sys.stdout.write(f"{state(ladder, cell, root):<12}{cell.name}\n")
        return
    _make_folders(root, results)
    words = ["ner-lightning", "ladder", str(file), "--runs", options.runs, "--results", str(results)]
    write_text(root / "sweep.yaml", sweep(ladder, words))
    failed = _run_cells(ladder, cells, root, results, [FLAG] * options.trust_remote_code)
    if (root / "ladder.md").is_file():
        sys.stdout.write("\n" + (root / "ladder.md").read_text(encoding="utf-8"))
    current = current_cells(ladder, root).cells
    if stale := [cell.name for cell in ladder.cells if cell not in current]:
        sys.stdout.write(f"not in the table, since their recipe or data have changed: {', '.join(stale)}\n")
    sys.stdout.write(f"\n{root / 'ladder.md'}\n{results}\n{root / 'sweep.yaml'} (for `wandb sweep`)\n")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(cells)} cells failed: {', '.join(failed)}.\n"
            f"Their output is above, and in {root}/CELL.log; the same command tries them again."
        )


def _run_cells(
    ladder: "Ladder", cells: Sequence["Cell"], root: Path, results: Path, trust: list[str]
) -> list[str]:
    """Runs cells, one after the other; returns the names of those that failed."""
    failed = []
    for number, cell in enumerate(cells, start=1):
        sys.stdout.write(f"[{number}/{len(cells)}] {cell.name}\n")
        sys.stdout.flush()
        try:
            done = _run_cell(ladder, cell, root, trust)
            if done is not None:
                record(ladder, cell, done, root / "ladder.md", results)
        except UserError as error:  # a mistake in one cell stops no other
            _say(str(error))
            done = None
        if done is None:
            failed.append(cell.name)
    return failed


def _say(text: str) -> None:
    """Prints lines about a cell, below its name."""
    sys.stdout.write("".join(f"    {line}\n" for line in text.splitlines()))


def _make_folders(root: Path, results: Path) -> None:
    """Sees to it that everything can be written, before anything is trained."""
    from ner_lightning.runs.results import read_rows

    for option, folder in (("--runs", root), ("--results", results.parent)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{option} {folder}: {(error.strerror or 'cannot be made').lower()}") from None
    read_rows(results)


def _chosen(ladder: "Ladder", names: Sequence[str] | None, file: Path) -> list["Cell"]:
    known = [cell.name for cell in ladder.cells]
    for name in names or ():
        if name not in known:
            raise UserError(f"{file} has no cell {name}; there are {', '.join(known)}")
    return [cell for cell in ladder.cells if not names or cell.name in names]


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
    place, name = root / cell.teacher, Path(cell.teacher).parent.name
    with (root / f".{name}.lock").open("w") as opened:  # another agent of a sweep may be making it
        lock(opened, place, wait=True)
        if (place / "run.json").is_file():
            if [one["run"] for one in Run(place).read("run.json").get("members", ())] == paths:
                return
            raise UserError(f"{place} is not the ensemble of {', '.join(paths)}; remove it")
        shutil.rmtree(place, ignore_errors=True)  # one that was being made when it was killed
        ensemble.run("ensemble", [*paths, "--runs", str(root), "--name", name])


def _run_cell(ladder: "Ladder", cell: "Cell", root: Path, trust: list[str]) -> "Run | None":
    """Runs or resumes a cell; None if its training failed.

    Raises:
        UserError: it cannot be trained.
    """
    from ner_lightning.runs.ladder_cells import RECIPE_VARIABLE, find_runs, is_done, recipe_digest

    run, before = find(ladder, cell, root), find_runs(cell, root)
    if run is not None and is_done(run):
        _say(f"done before: {run.path}")
        return run
    _put_together(ladder, cell, root)
    if run is None and before:
        _say("its recipe or its data have changed, so it is run again")
    # A run that is resumed has its recipe stored, and the digest of it.
    recipe = {RECIPE_VARIABLE: recipe_digest(ladder, cell)} if run is None else {}
    words = cell.command(root) if run is None else ["fit", "--run", str(run.path)]
    earlier = 0.0 if run is None else run.read("run.json").get("minutes", 0.0)
    began = time.monotonic()
    command = [sys.executable, "-m", "ner_lightning", *words, *trust]
    code = _run_logged(command, root / f"{cell.name}.log", recipe)
    run = run or next((made for made in find_runs(cell, root) if made not in before), None)
    if run is not None:
        run.update("run.json", {"minutes": earlier + (time.monotonic() - began) / 60})
    if code in STOPPED:
        raise Interrupted(STOPPED[code])
    if code == 0 and run != find(ladder, cell, root):
        raise UserError("its recipe or its data have changed meanwhile, so its result is not recorded")
    return run if code == 0 else None


def _run_logged(command: list[str], log: Path, environment: Mapping[str, str]) -> int:
    """Runs a command, prints its output and appends it to a file; returns its exit code.

    Args:
        command: the command.
        log: the file.
        environment: variables beside those of this process.
    """
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": {**os.environ, **environment}}
    with log.open("a", encoding="utf-8") as file, started(command, **options) as process:
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            sys.stdout.write(f"    {line}")
            sys.stdout.flush()
    return int(process.returncode)


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        name,
        "Runs a matrix of recipes and seeds from one file, resumes where it stopped, and makes one table: "
        "mean and standard deviation over seeds, minutes, peak memory.",
    )
    parser.add_argument("file", metavar="FILE", help="YAML with configs, settings, seeds and rungs")
    parser.add_argument("--cell", action="append", metavar="NAME", help="only this cell; may be repeated")
    parser.add_argument("--list", action="store_true", help="list the cells and whether they are done")
    parser.add_argument("--runs", default="runs", metavar="DIR", help="runs go to DIR/FILE'S NAME/CELL")
    parser.add_argument("--results", metavar="FILE", help="the JSON file of rows (default: beside the runs)")
    parser.add_trust()
    return parser
