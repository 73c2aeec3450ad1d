"""Reads a ladder's file: the rungs, their seeds and teachers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ner_lightning.errors import UserError
from ner_lightning.runs.ladder_cells import Cell, Ladder
from ner_lightning.system.ranges import Seed, check_setting
from ner_lightning.system.user_paths import without_tilde
from ner_lightning.system.yaml_keys import read_yaml

# Settings that a ladder gives to each cell, and what says them in its file.
SET_BY_LADDER = {"seed_everything": "`seeds`", "name": "the rung's name", "runs": "the option --runs"}

RUNG: dict[str, type] = {
    "configs": list,
    "settings": dict,
    "seeds": list,
    "note": str,
    "teacher": str,
    "text": list,
}


def read_ladder(file: Path) -> Ladder:
    """Reads a ladder file.

    It has `configs` and `settings` that all rungs share, `seeds`, and `rungs`: each with its additional
    `configs` and `settings`, its own `seeds` if they differ, and a `note` for the table. A rung with
    `teacher`, an earlier rung, distills the ensemble of that one's cells, on `text` as well. `curve` names a
    setting by which F1 is drawn.

    Raises:
        UserError: it cannot be read, or has another structure.
    """
    try:
        content, twice = read_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if twice is not None:
        raise UserError(f"{file}:{twice.line}: {twice}")
    keys: dict[str, type] = {"configs": list, "settings": dict, "seeds": list, "rungs": dict, "curve": str}
    shared = _checked(content, keys, str(file))
    if not shared["rungs"]:
        raise UserError(f"{file}: `rungs` names no rung, such as {{softmax: {{settings: {{...}}}}}}")
    cells: list[Cell] = []
    teachers: dict[str, list[Cell]] = {}
    notes: dict[str, str] = {}
    for name, rung in shared["rungs"].items():
        where = f"{file}: rung {name}"
        if not _names_folder(name):
            raise UserError(
                f"{where}: a rung's name must be a word that can name a folder, and not begin with `-`"
            )
        own = _checked(rung or {}, RUNG, where)
        teacher = ""
        if own["teacher"]:
            teacher = f"{own['teacher']}-ensemble/1"
            teachers[teacher] = _members(cells, own["teacher"], where)
        cells += _cells(name, shared, own, teacher, where)
        notes[name] = own["note"]
    return Ladder(file.stem, tuple(cells), cells[0].rung, notes, teachers, shared["curve"])


def _names_folder(name: Any) -> bool:
    """Whether a rung's name can be that of a folder, and the value of an option."""
    return (
        isinstance(name, str)
        and name not in {"", ".", ".."}
        and Path(name).name == name
        and not name.startswith("-")
    )


def _members(cells: Sequence[Cell], rung: str, where: str) -> list[Cell]:
    """The cells whose ensemble is a rung's teacher."""
    members = [cell for cell in cells if cell.rung == rung]
    if len(members) < 2:
        raise UserError(
            f"{where}: `teacher` is {rung}; it must be a rung before this one, with two seeds or more"
        )
    return members


def _cells(
    name: str, shared: Mapping[str, Any], own: Mapping[str, Any], teacher: str, where: str
) -> list[Cell]:
    """The cells of a rung."""
    configs = tuple(without_tilde(str(file)) for file in shared["configs"] + own["configs"])
    settings = shared["settings"] | own["settings"]
    if not configs:
        raise UserError(f"{where}: `configs` names no recipe")
    for key, instead in SET_BY_LADDER.items():
        if key in settings:
            raise UserError(f"{where}: `settings` has {key}, which a ladder sets itself; use {instead}")
    if own["text"] and not teacher:
        raise UserError(f"{where}: `text` is for a rung with a `teacher`")
    if shared["curve"] and not _is_number(settings.get(shared["curve"])):
        raise UserError(f"{where}: `curve` is {shared['curve']}, of which the rung has no number")
    seeds = _checked_seeds(own["seeds"] or shared["seeds"] or [1], where)
    text = tuple(without_tilde(str(file)) for file in own["text"])
    return [Cell(name, seed, configs, settings, teacher, text) for seed in seeds]


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are not, though Python counts them as 1 and 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _checked_seeds(seeds: Sequence[Any], where: str) -> Sequence[int]:
    """Seeds that random numbers can have, each once.

    Raises:
        UserError: one of them is none, or stands twice.
    """
    for seed in seeds:
        check_setting(f"{where}: a seed", Seed, seed)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"{where}: a seed is named twice in {seeds}, and would count as two runs")
    return seeds


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
