"""What each option of a config gained and cost on the quality ladders, for the reference pages."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ner_lightning.runs.ladder_cells import Cell, Ladder
from ner_lightning.runs.ladder_file import read_ladder
from ner_lightning.runs.results import Row, read_rows

ROOT = Path(__file__).parent.parent
LADDER = ROOT / "benchmarks" / "ladders" / "conll2003.yaml"
RESULTS = ROOT / "docs" / "results.json"
UNMEASURED = "not measured"


def measured_options() -> dict[str, str]:
    """For each option that a rung changed: its value there, F1 to the first rung, times time and memory."""
    known = read_ladder(LADDER)
    rows = [row for row in read_rows(RESULTS) if row.get("ladder") == known.name]
    return {key: "; ".join(parts) for key, parts in _by_option(known, rows).items()}


def _by_option(known: Ladder, rows: Sequence[Row]) -> dict[str, list[str]]:
    first, base = known.cells[0], _settings(known.cells[0])
    figures = {cell.rung: _figures([row for row in rows if row["rung"] == cell.rung]) for cell in known.cells}
    if (start := figures.pop(first.rung)) is None:
        return {}
    cells = {cell.rung: cell for cell in known.cells}
    found: dict[str, list[str]] = {}
    for rung, measured in figures.items():
        if measured is None:
            continue
        changed = {key: value for key, value in _settings(cells[rung]).items() if base.get(key) != value}
        named = f" ({rung})" if len(changed) > 1 else ""
        gain = f"{measured.f1 - start.f1:+.1f} F1"
        if measured.spread:
            gain += f" (sd {measured.spread:.1f})"
        alike = measured.machines == start.machines  # otherwise the ratio would be that of the machines
        if alike and measured.minutes and start.minutes:
            gain += f", {measured.minutes / start.minutes:.1f}x time"
        if alike and measured.memory and start.memory:
            gain += f", {measured.memory / start.memory:.1f}x memory"
        for key, value in changed.items():
            found.setdefault(key, []).append(f"`{value_text(value)}`{named}: {gain}")
    return found


class _Figures(NamedTuple):
    """Means over a rung's seeds: F1 in points and its deviation; minutes and bytes, 0 where not measured."""

    f1: float
    spread: float
    minutes: float
    memory: float
    machines: frozenset[str]


def _figures(rows: Sequence[Row]) -> _Figures | None:
    """None if a rung has no row."""
    if not rows:
        return None
    scores = [100 * row["value"] for row in rows]
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    costs = [
        [row[name] for row in rows if row.get(name) is not None] for name in ("minutes", "peak_memory_bytes")
    ]
    minutes, memory = (statistics.fmean(known) if known else 0 for known in costs)
    machines = frozenset(row["machine"] for row in rows)
    return _Figures(statistics.fmean(scores), spread, minutes, memory, machines)


def _settings(cell: Cell) -> dict[str, Any]:
    """All that a cell's files and options say, by dotted names."""
    files = (yaml.safe_load((ROOT / config).read_text(encoding="utf-8")) for config in cell.configs)
    return dict(pair for tree in files for pair in _dotted(tree, "")) | dict(cell.settings)


def _dotted(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def value_text(value: Any) -> str:
    """A value as it is written in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
