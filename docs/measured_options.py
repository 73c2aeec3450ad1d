"""What each option of a config gained and cost on the quality ladders, for the reference pages."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ner_lightning import records
from ner_lightning.ladder import Cell, Ladder, read_ladder
from ner_lightning.records import Row

ROOT = Path(__file__).parent.parent
LADDER = ROOT / "benchmarks" / "ladders" / "conll2003.yaml"
RESULTS = ROOT / "docs" / "results.json"
UNMEASURED = "not measured"


def measured_options() -> dict[str, str]:
    """For each option that a rung changed: its value there, F1 to the first rung, and times its minutes."""
    known = read_ladder(LADDER)
    rows = [row for row in records.read(RESULTS) if row.get("ladder") == known.name]
    return {key: "; ".join(parts) for key, parts in _by_option(known, rows).items()}


def _by_option(known: Ladder, rows: Sequence[Row]) -> dict[str, list[str]]:
    first = known.cells[0]
    base = _settings(first)
    figures = {rung: _figures(rows, rung) for rung in dict.fromkeys(cell.rung for cell in known.cells)}
    if figures[first.rung] is None:
        return {}
    f1, minutes = figures[first.rung] or (0.0, 0.0)
    found: dict[str, list[str]] = {}
    for rung, cell in {cell.rung: cell for cell in known.cells}.items():
        measured = figures[rung]
        if measured is None or rung == first.rung:
            continue
        changed = {key: value for key, value in _settings(cell).items() if base.get(key) != value}
        ratio = f"{measured[1] / minutes:.1f}x" if minutes else "?"
        for key, value in changed.items():
            rung_named = f" ({rung})" if len(changed) > 1 else ""
            line = f"`{_value(value)}`{rung_named}: {measured[0] - f1:+.1f} F1, {ratio} time"
            found.setdefault(key, []).append(line)
    return found


def _figures(rows: Sequence[Row], rung: str) -> tuple[float, float] | None:
    own = [row for row in rows if row["rung"] == rung]
    if not own:
        return None
    minutes = [row["minutes"] for row in own if row.get("minutes")]
    return 100 * statistics.fmean(row["value"] for row in own), statistics.fmean(minutes) if minutes else 0.0


def _settings(cell: Cell) -> dict[str, Any]:
    """All that a cell's files and options say, by dotted names."""
    said: dict[str, Any] = {}
    for config in cell.configs:
        said |= _flat(yaml.safe_load((ROOT / config).read_text(encoding="utf-8")), "")
    return said | dict(cell.settings)


def _flat(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    def pairs() -> Iterator[tuple[str, Any]]:
        for key, value in tree.items():
            if isinstance(value, Mapping):
                yield from _flat(value, f"{prefix}{key}.").items()
            else:
                yield f"{prefix}{key}", value

    return dict(pairs())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
