"""Ladders of recipes: one file lists rungs and seeds; each cell is a run, all of them make one table."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ner_lightning.errors import UserError
from ner_lightning.runs.folder import Run
from ner_lightning.runs.results import Row, markdown_table
from ner_lightning.runs.shipped import shipped

COUNTED = ("correct", "predicted", "gold")


@dataclass(frozen=True)
class Cell:
    """One run of a ladder.

    Attributes:
        rung: the rung's name.
        seed: of all its random numbers.
        configs: config files, the recipe first.
        settings: options on top of them.
    """

    rung: str
    seed: int
    configs: tuple[str, ...]
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of its run, which is a folder."""
        return f"{self.rung}-seed{self.seed}"

    @property
    def overrides(self) -> list[str]:
        """Its settings as options, one string each."""
        return [f"--{key} {_as_option(value)}" for key, value in self.settings.items()]

    def command(self, root: Path) -> list[str]:
        """The `ner-lightning fit` command of this cell, without the program's name."""
        words = [word for config in self.configs for word in ("--config", config)]
        words += [word for option in self.overrides for word in option.split(" ", 1)]
        return ["fit", *words, "--seed_everything", str(self.seed), "--runs", str(root), "--name", self.name]


@dataclass(frozen=True)
class Ladder:
    """The content of a ladder file.

    Attributes:
        name: the file's name without suffix.
        cells: all runs, rung by rung.
        notes: a line about a rung, where the file has one.
    """

    name: str
    cells: tuple[Cell, ...]
    notes: Mapping[str, str]


def read_ladder(file: Path) -> Ladder:
    """Reads a ladder file.

    It has `configs` and `settings` that all rungs share, `seeds`, and `rungs`: each with its additional
    `configs` and `settings`, its own `seeds` if they differ, and a `note` for the table.

    Raises:
        UserError: it cannot be read, or has another structure.
    """
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    shared = _checked(content, {"configs": list, "settings": dict, "seeds": list, "rungs": dict}, str(file))
    if not shared["rungs"]:
        raise UserError(f"{file}: `rungs` names no rung, such as {{softmax: {{settings: {{...}}}}}}")
    cells: list[Cell] = []
    notes: dict[str, str] = {}
    kinds: dict[str, type] = {"configs": list, "settings": dict, "seeds": list, "note": str}
    for name, rung in shared["rungs"].items():
        where = f"{file}: rung {name}"
        if not isinstance(name, str) or Path(name).name != name:
            raise UserError(f"{where}: a rung's name must be a word that can name a folder")
        own = _checked(rung or {}, kinds, where)
        configs = tuple(map(str, shared["configs"] + own["configs"]))
        if not configs:
            raise UserError(f"{where}: `configs` names no recipe")
        for seed in own["seeds"] or shared["seeds"] or [1]:
            if not isinstance(seed, int):
                raise UserError(f"{where}: seed {seed!r} is not a whole number")
            cells.append(Cell(name, seed, configs, shared["settings"] | own["settings"]))
        notes[name] = own["note"]
    return Ladder(file.stem, tuple(cells), notes)


def is_done(run: Run) -> bool:
    """Whether a run has finished: all its epochs or steps, or early stopping."""
    return "finished" in run.read("run.json")


def find_run(cell: Cell, root: Path) -> Run | None:
    """The latest run of a cell with the same command; None if there is none."""
    wanted = [shipped(word) for word in cell.command(root)]
    folders = [item for item in (root / cell.name).glob("*") if item.name.isdecimal()]
    for folder in sorted(folders, key=lambda item: int(item.name), reverse=True):
        if [shipped(word) for word in Run(folder).read("run.json").get("command", [])[1:]] == wanted:
            return Run(folder)
    return None


def ladder_table(ladder: Ladder, rows: Iterable[Row]) -> str:
    """The table of a ladder, its rungs in the order of its file.

    Args:
        ladder: the ladder.
        rows: measured figures; those of other ladders, or of rungs no longer in the file, are ignored.
    """
    order = list(dict.fromkeys(cell.rung for cell in ladder.cells))
    own = [row for row in rows if row.get("ladder") == ladder.name and row["rung"] in order]
    return table(sorted(own, key=lambda row: (order.index(row["rung"]), row["seed"])), ladder.notes)


def table(rows: Iterable[Row], notes: Mapping[str, str] | None = None) -> str:
    """Rungs as a table in Markdown: mean and standard deviation over seeds, minutes, peak memory.

    Args:
        rows: of one ladder, rung by rung; the others are compared with the first rung.
        notes: a line about each rung.
    """
    rungs: dict[str, list[Row]] = {}
    for row in rows:
        rungs.setdefault(row["rung"], []).append(row)
    body: list[list[str]] = []
    base: float | None = None
    for name, members in rungs.items():
        values = [100 * row["value"] for row in members]
        mean = statistics.fmean(values)
        base = mean if base is None else base
        spread = f"{statistics.stdev(values):.2f}" if len(values) > 1 else "-"
        minutes = [row["minutes"] for row in members if row["minutes"] is not None]
        memory = [row["peak_memory_bytes"] for row in members if row["peak_memory_bytes"] is not None]
        body.append(
            [
                name,
                f"{mean:.2f}",
                spread,
                str(len(values)),
                f"{mean - base:+.2f}",
                f"{statistics.fmean(minutes):.1f}" if minutes else "-",
                f"{max(memory) / 2**30:.1f}" if memory else "-",
                (notes or {}).get(name, ""),
            ]
        )
    head = ["rung", "F1", "sd", "seeds", "to the first", "minutes", "peak GiB", ""]
    return markdown_table(head, body)


def sweep(ladder: Ladder, words: Sequence[str]) -> str:
    """The ladder as a W&B sweep: each agent takes one cell at a time.

    Args:
        ladder: the ladder.
        words: the command line that runs the ladder, such as `ner-lightning ladder FILE`.
    """
    content = {
        "name": ladder.name,
        "method": "grid",
        "metric": {"name": "val/f1", "goal": "maximize"},
        "parameters": {"cell": {"values": [cell.name for cell in ladder.cells]}},
        "command": [*words, "${args}"],
    }
    return yaml.safe_dump(content, sort_keys=False)


def _as_option(value: Any) -> str:
    """A setting in the form of the command line."""
    if isinstance(value, str):
        return value
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _checked(content: Any, kinds: Mapping[str, type], where: str) -> dict[str, Any]:
    """A mapping with all keys of `kinds`, with empty values for missing ones.

    Raises:
        UserError: it is not a mapping, or has an unknown key or a value of another type.
    """
    if not isinstance(content, dict):
        raise UserError(f"{where}: expected {', '.join(kinds)}")
    unknown = [str(name) for name in content if name not in kinds]
    if unknown:
        raise UserError(f"{where}: there is no `{unknown[0]}`; there are {', '.join(kinds)}")
    for name, value in content.items():
        if not isinstance(value, kinds[name]):
            raise UserError(f"{where}: `{name}` must be a {kinds[name].__name__}, not {value!r}")
    return {name: content.get(name, kind()) for name, kind in kinds.items()}
