"""`ner-lightning ladder`: runs the cells of a ladder, one after the other, and makes their table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.commands.ladder_runs.ladder_rows import record
from ner_lightning.commands.ladder_runs.ladder_state import current_cells, find, state
from ner_lightning.commands.ladder_runs.ladder_training import print_indented, train_cell
from ner_lightning.commands.options.command_line import Parser
from ner_lightning.errors import UserError
from ner_lightning.system.locks import LockedError, locked

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
    failed, left = _run_cells(ladder, cells, root, results, [FLAG] * options.trust_remote_code)
    if (root / "ladder.md").is_file():
        sys.stdout.write("\n" + (root / "ladder.md").read_text(encoding="utf-8"))
    current = current_cells(ladder, root).cells
    if stale := [cell.name for cell in ladder.cells if cell not in current]:
        sys.stdout.write(
            f"not in the table, as runs of other recipes or data, or of no ladder: {', '.join(stale)}\n"
        )
    if left:
        sys.stdout.write(f"left to another ladder that is running: {', '.join(left)}\n")
    sys.stdout.write(f"\n{root / 'ladder.md'}\n{results}\n{root / 'sweep.yaml'} (for `wandb sweep`)\n")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(cells)} cells failed: {', '.join(failed)}.\n"
            f"Their output is above, and in {root}/CELL.log; the same command tries them again."
        )


def _run_cells(
    ladder: "Ladder", cells: Sequence["Cell"], root: Path, results: Path, trust: list[str]
) -> tuple[list[str], list[str]]:
    """Runs cells, one after the other.

    Returns:
        the names of those that failed, and of those that another ladder runs, or whose teachers it runs.
    """
    failed: list[str] = []
    left: list[str] = []
    for number, cell in enumerate(cells, start=1):
        sys.stdout.write(f"[{number}/{len(cells)}] {cell.name}\n")
        sys.stdout.flush()
        try:
            done = _run_cell(ladder, cell, root, trust)
            if done is not None:
                record(ladder, cell, done, root / "ladder.md", results)
            else:
                failed.append(cell.name)
        except UserError as error:  # a mistake in one cell stops no other
            print_indented(str(error))
            waits = any(member.name in left for member in ladder.teachers.get(cell.teacher, ()))
            (left if waits or isinstance(error, LockedError) else failed).append(cell.name)
    return failed, left


def _make_folders(root: Path, results: Path) -> None:
    """Sees to it that everything can be written, before anything is trained."""
    from ner_lightning.runs.results import read_rows
    from ner_lightning.system.output_checks import writing

    for option, folder in (("--runs", root), ("--results", results.parent)):
        with writing(f"{option} {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
    read_rows(results)


def _chosen(ladder: "Ladder", names: Sequence[str] | None, file: Path) -> list["Cell"]:
    known = [cell.name for cell in ladder.cells]
    for name in names or ():
        if name not in known:
            raise UserError(f"{file} has no cell {name}; there are {', '.join(known)}")
    return [cell for cell in ladder.cells if not names or cell.name in names]


def _run_cell(ladder: "Ladder", cell: "Cell", root: Path, trust: list[str]) -> "Run | None":
    """Runs or resumes a cell; None if its training failed.

    Raises:
        UserError: it cannot be trained, or another ladder is running it.
    """
    from ner_lightning.runs.ladder_cells import is_done

    run = find(ladder, cell, root)
    if run is None or not is_done(run):
        with locked(root / f".{cell.name}.lock", "another ladder is running it") as cell_lock:
            run = find(ladder, cell, root)  # another ladder may have trained it just now
            if run is None or not is_done(run):
                return train_cell(ladder, cell, run, root, trust, cell_lock)
    print_indented(f"done before: {run.path}")
    return run


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
