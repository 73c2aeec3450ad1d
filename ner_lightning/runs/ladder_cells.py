"""Ladders of recipes: one file lists rungs and seeds, and each cell is a run."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ner_lightning.errors import UserError
from ner_lightning.runs.fingerprints import digest_in, file_in
from ner_lightning.runs.folder import Run, numbered
from ner_lightning.runs.shipped import shipped, shipped_config
from ner_lightning.system.digests import digest_of
from ner_lightning.system.shards import shards_of
from ner_lightning.system.user_paths import expanded

CONSENT = "--trust_remote_code"  # allows code to be run, and changes nothing of what a cell is
RECIPE_VARIABLE = "NER_LIGHTNING_RECIPE"  # in the environment of a cell's training: the digest of its recipe


@dataclass(frozen=True)
class Cell:
    """One run of a ladder.

    Attributes:
        rung: the rung's name.
        seed: of all its random numbers.
        configs: config files, the recipe first.
        settings: options on top of them.
        teacher: the run that it learns from, relative to the ladder's own; empty for an ordinary fit.
        text: files without tags that it learns from, too.
    """

    rung: str
    seed: int
    configs: tuple[str, ...]
    settings: Mapping[str, Any]
    teacher: str = ""
    text: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of its run, which is a folder."""
        return f"{self.rung}-seed{self.seed}"

    @property
    def config(self) -> str:
        """Its config files by name, as a row has them."""
        return " ".join(Path(config).stem for config in self.configs)

    @property
    def overrides(self) -> list[str]:
        """Its settings as options, one string each."""
        return [f"--{key} {_as_option(value)}" for key, value in self.settings.items()]

    @property
    def changes(self) -> list[str]:
        """What it changes of its config files, as a row has it."""
        return [*self.overrides, *self.learned_from]

    @property
    def learned_from(self) -> list[str]:
        """Whom it learns from, and on which text, in words; empty for an ordinary fit."""
        teacher = [f"from {Path(self.teacher).parent.name}"] if self.teacher else []
        return [*teacher, *(f"--text {Path(file).name}" for file in self.text)]

    def command(self, root: Path) -> list[str]:
        """The `ner-lightning fit` command of this cell, or `distill`, without the program's name."""
        made = ["distill", str(root / self.teacher)] if self.teacher else ["fit"]
        words = [word for config in self.configs for word in ("--config", config)]
        words += [word for option in self.overrides for word in option.split(" ", 1)]
        words += [word for file in self.text for word in ("--text", file)]
        return [*made, *words, "--seed_everything", str(self.seed), "--runs", str(root), "--name", self.name]


@dataclass(frozen=True)
class Ladder:
    """The content of a ladder file.

    Attributes:
        name: the file's name without suffix.
        cells: all runs, rung by rung.
        baseline: the first rung, with which the others are compared.
        notes: a line about a rung, where the file has one.
        teachers: the cells whose ensemble is a teacher, by the name of its run.
        curve: a setting with a number, by which F1 is drawn; empty for no picture.
    """

    name: str
    cells: tuple[Cell, ...]
    baseline: str
    notes: Mapping[str, str]
    teachers: Mapping[str, Sequence[Cell]] = field(default_factory=dict)
    curve: str = ""


def is_done(run: Run) -> bool:
    """Whether a run has finished: all its epochs or steps, or early stopping."""
    return "finished" in run.read("run.json")


def recipe_digest(ladder: Ladder, cell: Cell) -> str:
    """A digest of what a cell's command does not tell: what configs and texts hold, its teacher's members."""
    digest = hashlib.sha256()
    for file in map(Path, map(shipped_config, cell.configs)):
        content = file.read_bytes() if file.is_file() else b""  # `fit` says what is missing
        with suppress(yaml.YAMLError):
            settings = yaml.safe_load(content)
            content = repr(settings).encode()  # without its comments
            for named in _named_files(settings):
                digest.update(digest_of(named).encode())
        digest.update(content)
    for named in _named_files(list(cell.settings.values())):
        digest.update(digest_of(named).encode())
    for text in map(Path, cell.text):
        digest.update(digest_of(text).encode() if text.exists() else b"")
    for member in ladder.teachers.get(cell.teacher, ()):
        digest.update("\0".join([*member.command(Path()), recipe_digest(ladder, member)]).encode())
    return f"sha256:{digest.hexdigest()}"


def noted_recipe() -> dict[str, str]:
    """What a cell's training writes into `run.json` before its first step, and others do not.

    A ladder that noted it itself at the end would leave runs of any recipe if it was killed.
    """
    return {"recipe": os.environ[RECIPE_VARIABLE]} if RECIPE_VARIABLE in os.environ else {}


def _named_files(value: Any) -> Iterator[Path]:
    """The files that settings name, such as weights of sentences and names of tags."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _named_files(each)
    elif isinstance(value, str):
        with suppress(OSError, ValueError, UserError):  # no name that a file could have
            if (file := expanded(value)).is_file():
                yield file


def find_runs(cell: Cell, root: Path) -> list[Run]:
    """The runs of a cell with the same command, the latest first, whatever their configs said."""
    wanted = [shipped(word) for word in cell.command(root)]

    def command(run: Run) -> list[str]:
        return [shipped(word) for word in run.read("run.json").get("command", [])[1:] if word != CONSENT]

    runs = map(Run, reversed(numbered(root / cell.name)))
    return [run for run in runs if command(run) == wanted]


def find_run(
    ladder: Ladder, cell: Cell, root: Path, changed: Callable[[Run], bool] | None = None
) -> Run | None:
    """The latest run of a cell with the same command, recipe and data; None if there is none.

    A run without a digest of its recipe was not made by a ladder: nothing tells of which recipe it is.

    Args:
        ladder: the ladder.
        cell: one of its cells.
        root: where its runs are.
        changed: whether something else that a run was made of has other content by now.
    """
    recipe = recipe_digest(ladder, cell)
    same = (run for run in find_runs(cell, root) if run.read("run.json").get("recipe") == recipe)
    return next((run for run in same if not data_changed(run) and not (changed and changed(run))), None)


def data_changed(run: Run) -> bool:
    """Whether a file or folder on which a run was trained or validated has other content by now."""
    data = run.read("run.json").get("data", {})
    for split in (data[name] for name in ("train", "valid") if name in data):
        path = Path(file_in(split["origin"]))
        if (path.exists() or shards_of(path)) and digest_of(path) != digest_in(split["fingerprint"]):
            return True
    return False


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
