"""The table of a ladder and its learning curve, from the rows of its cells."""

import shlex
import statistics
from collections.abc import Iterable, Mapping
from itertools import pairwise

from ner_lightning.runs.ladder_cells import Ladder
from ner_lightning.runs.results import Row, markdown_table
from ner_lightning.runs.shipped import shipped


def ladder_table(ladder: Ladder, rows: Iterable[Row]) -> str:
    """The table of a ladder, its rungs in the order of its file.

    Args:
        ladder: the ladder.
        rows: measured figures; those of other ladders, or of cells no longer in the file, are ignored.
    """
    return table(_own_rows(ladder, rows), ladder.baseline, ladder.notes)


def _own_rows(ladder: Ladder, rows: Iterable[Row]) -> list[Row]:
    """The rows of a ladder's cells as its file has them now, one each and in its order."""
    named = {
        (row["rung"], row["seed"], *_configs(row.get("command", "")), *_learned(row["overrides"])): row
        for row in rows
        if row.get("ladder") == ladder.name
    }
    keys = (
        (cell.rung, cell.seed, *map(shipped, cell.configs), *_learned(cell.changes)) for cell in ladder.cells
    )
    return [named[key] for key in keys if key in named]


def _configs(command: str) -> list[str]:
    """The config files of a command."""
    words = pairwise(shlex.split(command))
    return [shipped(word) for before, word in words if before == "--config"]


def _learned(changes: Iterable[str]) -> list[str]:
    """Changes but for those of how it is computed, which is a matter of the machine."""
    return [change for change in changes if not change.startswith("--model.runtime.")]


def curve_points(ladder: Ladder, rows: Iterable[Row]) -> dict[str, list[tuple[float, list[float]]]]:
    """The lines of a ladder's learning curve: rungs whose names differ by the number alone are one line.

    Args:
        ladder: one with a `curve`.
        rows: measured figures.

    Returns:
        of each line its points: the number, and the F1 of each seed, in percent.
    """
    found: dict[str, list[float]] = {}
    for row in _own_rows(ladder, rows):
        found.setdefault(row["rung"], []).append(100 * row["value"])
    lines: dict[str, list[tuple[float, list[float]]]] = {}
    for cell in {cell.rung: cell for cell in ladder.cells}.values():
        at = cell.settings[ladder.curve]
        if cell.rung in found:
            lines.setdefault(cell.rung.removesuffix(f"-{at}"), []).append((float(at), found[cell.rung]))
    return lines


def table(rows: Iterable[Row], baseline: str, notes: Mapping[str, str] | None = None) -> str:
    """Rungs as a table in Markdown: mean and standard deviation over seeds, minutes, peak memory.

    Args:
        rows: of one ladder, rung by rung.
        baseline: the rung with which all are compared; without rows of it, nothing is.
        notes: a line about each rung.
    """
    rungs: dict[str, list[Row]] = {}
    for row in rows:
        rungs.setdefault(row["rung"], []).append(row)
    body: list[list[str]] = []
    base = statistics.fmean(100 * row["value"] for row in rungs[baseline]) if baseline in rungs else None
    for name, members in rungs.items():
        values = [100 * row["value"] for row in members]
        mean = statistics.fmean(values)
        spread = f"{statistics.stdev(values):.2f}" if len(values) > 1 else "-"
        minutes = [row["minutes"] for row in members if row["minutes"] is not None]
        memory = [row["peak_memory_bytes"] for row in members if row["peak_memory_bytes"] is not None]
        body.append(
            [
                name,
                f"{mean:.2f}",
                spread,
                str(len(values)),
                "-" if base is None else f"{mean - base:+.2f}",
                f"{statistics.fmean(minutes):.1f}" if minutes else "-",
                f"{max(memory) / 2**30:.1f}" if memory else "-",
                (notes or {}).get(name, ""),
            ]
        )
    head = ["rung", "F1", "sd", "seeds", "vs. baseline", "minutes", "peak GiB", ""]
    return markdown_table(head, body)
