"""What a ladder keeps of a cell that is done: its row of results, and the table and picture of all cells."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ner_lightning.commands.ladder_runs.ladder_state import current_cells
from ner_lightning.errors import UserError
from ner_lightning.system.locks import in_turn

if TYPE_CHECKING:
    from ner_lightning.runs.folder import Run
    from ner_lightning.runs.ladder_cells import Cell, Ladder
    from ner_lightning.runs.results import Row


def record(ladder: "Ladder", cell: "Cell", done: "Run", page: Path, results: Path) -> None:
    """Adds a cell's row and renews the table.

    Args:
        ladder: the ladder.
        cell: one of its cells.
        done: its run.
        page: the table.
        results: the file of rows.

    Raises:
        UserError: the run has no validation scores, or the file holds something else by now.
    """
    from ner_lightning.runs.results import add_rows, read_rows

    row = _row_of(cell, ladder.name, done)
    own = ("ladder", "rung", "seed", "config", "overrides", "split", "metric")
    # Also one that was measured on other data, which have changed.
    add_rows([row], results, lambda old: all(old.get(name) == row[name] for name in own))
    with in_turn(page):  # which shows another ladder's rows and these
        _write_table(current_cells(ladder, done.path.parent.parent), read_rows(results), page)


def _write_table(ladder: "Ladder", rows: list["Row"], page: Path) -> None:
    """Writes the table of a ladder, and the picture beside it."""
    from ner_lightning.runs.ladder_table import curve_points, ladder_table
    from ner_lightning.system.atomic import write_text

    write_text(page, ladder_table(ladder, rows))
    if ladder.curve:
        from ner_lightning.analysis.render.learning_curve import learning_curve
        from ner_lightning.analysis.render.style import svg

        write_text(page.with_suffix(".svg"), svg(learning_curve(curve_points(ladder, rows), ladder.curve)))


def _row_of(cell: "Cell", ladder: str, run: "Run") -> "Row":
    """A finished cell as a row of measured figures: the F1 of its best epoch on validation.

    Raises:
        UserError: the run has no validation scores.
    """
    import numpy as np

    from ner_lightning.metrics.from_counts import COUNTED, f1
    from ner_lightning.runs.results import describe_data

    about, types = run.read("run.json"), run.read("metrics.json").get("val/by_type")
    if types is None:
        raise UserError(f"{run.path} has no validation scores in metrics.json")
    counts = {name: sum(kind[name] for kind in types.values()) for name in COUNTED}
    data = about["data"]["valid"]
    return {
        "config": cell.config,
        "overrides": cell.changes,
        "data": describe_data(data["origin"], data["fingerprint"]),
        "split": "valid",
        "metric": "f1",
        "value": float(f1(np.array([counts[name] for name in COUNTED]))),
        "seed": cell.seed,
        "command": shlex.join(["ner-lightning", *cell.command(run.path.parent.parent)]),
        "machine": about["machine"],
        "versions": about["versions"],
        "commit": about["commit"],
        "entities": counts,
        "ladder": ladder,
        "rung": cell.rung,
        "minutes": about.get("minutes"),
        "peak_memory_bytes": about.get("peak_memory_bytes"),
    }
