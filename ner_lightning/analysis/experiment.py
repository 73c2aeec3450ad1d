"""Reads a run from its files, or a prediction file without a run."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ner_lightning.analysis.failure import Analysis, analyse
from ner_lightning.analysis.rows import read_predictions
from ner_lightning.errors import UserError
from ner_lightning.runs.earlier import is_of_best
from ner_lightning.runs.fingerprints import shared
from ner_lightning.runs.folder import (
    BEST,
    RECIPE,
    STAGES,
    Run,
    check_holds_no_runs,
    run_of,
    run_path,
    short,
)
from ner_lightning.runs.metrics_rows import read_metrics_table
from ner_lightning.system.progress import warn

# What `run.json` says of prompting beside the recipe: the seed, and what came of it.
_OUTCOME = frozenset({"prompt_seed", "seconds", "answers", "failed", "unread_lines", "absent", "cut"})

_MAY_NAME_DATA = ("--data", "--config", "-c")  # options of `test`
# What differs between seeds of one recipe, or says where a run is and how it is watched.
_NOT_OF_A_RECIPE = frozenset(
    ["seed_everything", "runs", "name", "verbose", "checkpoint_every_n_steps", "log_text", "weights_only"]
)


@dataclass(frozen=True)
class Experiment:
    """A run as its files describe it.

    Attributes:
        name: what the run is called, such as `quickstart/1`.
        folder: its folder; None for a prediction file without a run.
        about: `run.json`.
        config: `config.yaml`, or the `recipe.yaml` of a prompted baseline.
        metrics: `metrics.json`.
        history: the rows of `metrics.csv`, by step.
        files: the prediction file of each split.
    """

    name: str
    folder: Path | None
    about: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def splits(self) -> dict[str, Analysis]:
        """The analysis of each split that was predicted."""
        return {
            split: analyse(read_predictions(file, Run(file.parent).read("train_entities.json")))
            for split, file in self.files.items()
        }

    @property
    def seed(self) -> Any:
        """The seed; None if unknown."""
        return self.about.get("seed")

    @property
    def made_of(self) -> str:
        """What it was made of, such as `soup of seeds 1, 2, 3`; empty for a run that was trained."""
        return _made_of(self.about)

    @property
    def model(self) -> Mapping[str, Any]:
        """The settings of the model."""
        return self._section("model")

    @property
    def trainer(self) -> Mapping[str, Any]:
        """The settings of the trainer."""
        return self._section("trainer")

    @property
    def data(self) -> Mapping[str, Any]:
        """The settings of the data."""
        return self._section("data")

    def _section(self, name: str) -> Mapping[str, Any]:
        return self.config.get(name) or {}

    @property
    def prompted(self) -> Mapping[str, Any]:
        """How a baseline was prompted and its answers were read; empty for a trained run."""
        return self.about.get("prompting") or {}

    @property
    def parameters(self) -> tuple[int, int] | None:
        """The numbers of all and of trained parameters; None if unknown."""
        total, trained = self.about.get("parameters"), self.about.get("trained_parameters")
        return (total, trained) if total and trained is not None else None

    @property
    def best_checkpoint(self) -> Path | None:
        """The file of the best checkpoint; None if there is none."""
        file = Run(self.folder).checkpoint(BEST) if self.folder else None
        return file if file is not None and file.is_file() else None

    def only(self, split: str, indices: Sequence[int]) -> "Experiment":
        """The same run on a selection of a split's sentences."""
        whole = self.splits[split].predictions
        part = replace(whole, rows=[whole.rows[index] for index in indices])
        run = replace(self, files={split: self.files[split]})
        run.__dict__["splits"] = {split: analyse(part)}  # instead of reading the file
        return run

    def is_of_other_data(self, split: str) -> bool:
        """Whether a split is not the recipe's own, or was trained on: its score is none of the data set's."""
        data = self.about.get("data", {})
        own, train = (str(data.get(name, {}).get("fingerprint", "")) for name in (split, "train"))
        words = map(str, self.about.get("test_command", []) if split == "test" else ())
        given = any(w.startswith(_MAY_NAME_DATA) and not w.startswith("--data.batches") for w in words)
        return given or shared(own, [train]) == "same"

    def epochs(self) -> list[tuple[int, Mapping[str, float]]]:
        """The rows of `metrics.csv` with a validation, each with its step."""
        return [(step, row) for step, row in sorted(self.history.items()) if "val/f1" in row]

    def recipe(self) -> dict[str, Any]:
        """The configuration without what differs between seeds of a recipe."""
        config = {k: v for k, v in self.config.items() if k not in _NOT_OF_A_RECIPE}
        # Without callbacks of the user's own, whether they are an empty list or none at all.
        trainer = {k: v for k, v in self.trainer.items() if k != "logger" and (v or k != "callbacks")}
        config |= {"trainer": trainer, "data": {k: v for k, v in self.data.items() if k != "seed"}}
        config["ranks"] = self.about.get("ranks", 1)  # times as many sentences are in a step
        if members := self.model.get("members"):  # whose settings would be hundreds of characters
            digest = hashlib.sha256(json.dumps(members, sort_keys=True, default=str).encode()).hexdigest()
            config["model"] = {**self.model, "members": f"{len(members)} more, settings {digest[:8]}"}
        if soup := self.about.get("soup"):  # otherwise it would pass for a training of its first member's
            config["soup"] = {k: v for k, v in soup.items() if k != "lost"}
        if resumed := self.about.get("earlier_settings"):  # its first epochs had others
            config["before it was resumed"] = resumed
        if scored := self.about.get("scored"):  # a checkpoint other than the best of its training
            config["scored"] = scored
        if self.prompted:  # otherwise it would pass for the trained run of its configuration
            config["prompting"] = {k: v for k, v in self.prompted.items() if k not in _OUTCOME}
        return config


def _made_of(about: Mapping[str, Any]) -> str:
    """The same from `run.json`; a member that was made of others is named by those."""
    members = about.get("members")
    if not members:
        return ""
    seeds = [member.get("seed") for member in members]
    names = [
        f"({inner})" if (inner := _made_of(member)) else str(seed if seed is not None else member.get("run"))
        for member, seed in zip(members, seeds, strict=True)
    ]
    return f"{'soup' if about.get('soup') else 'ensemble'} of seeds {', '.join(names)}"


def find_experiment(address: str | None, root: Path) -> Experiment:
    """Reads a run.

    Args:
        address: a run folder, a checkpoint in one, a file of predictions (`.jsonl`, or CoNLL columns
            with gold and predicted tag last), or None for the last run.
        root: the folder of runs, for None.

    Raises:
        UserError: there is no such run or file, or no predictions in it.
    """
    path = run_path(address, root)
    if path.is_file() and path.suffix == ".ckpt":
        run = run_of(path)
        if run is None:
            raise UserError(f"{path} is not in a run folder, so there are no predictions to report on")
        if run.is_not_best(path):
            raise UserError(
                f"{path} has no predictions: those of its run are of the checkpoint `best`.\n"
                f"Score it first: ner-lightning validate --run {short(run.path)} --ckpt_path {path.stem}"
            )
        path = run.path
    if path.is_file():
        split = path.stem.rpartition(".")[2]
        return Experiment(path.name, None, files={split if split in STAGES else "predictions": path})
    if not path.is_dir():
        what = f"there is no run folder or prediction file {address}" if address else f"no last run in {root}"
        raise UserError(f"{what}; train one with `ner-lightning fit --config FILE`")
    return _of_folder(path.resolve())


def _of_folder(folder: Path) -> Experiment:
    run = Run(folder)
    files = {split: file for split in STAGES if (file := folder / f"predictions.{split}.jsonl").is_file()}
    if not files:
        check_holds_no_runs(folder)
        raise UserError(
            f"{folder} has no predictions.valid.jsonl or predictions.test.jsonl: it is not the folder of a "
            "run that finished an epoch"
        )
    metrics, table = run.read("metrics.json"), folder / "metrics.csv"
    if "test" in files and len(files) > 1 and not is_of_best(metrics):
        warn(f"{short(folder)} has had a better epoch since it was tested: its test scores are left out.")
        del files["test"]
    return Experiment(
        name="/".join(folder.parts[-2:]),
        folder=folder,
        about=run.read("run.json"),
        config=_settings(settings_file(folder)),
        metrics=metrics,
        history=_history(table) if table.is_file() else {},
        files=files,
    )


def _history(table: Path) -> dict[int, dict[str, float]]:
    try:
        return read_metrics_table(table.read_text(encoding="utf-8"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{table}: not a table of metrics ({error}); restore the file, or remove it"
        ) from None


def settings_file(folder: Path) -> Path:
    """The file with a run's settings: `config.yaml`, or `recipe.yaml` where nothing was trained."""
    config, recipe = folder / "config.yaml", folder / RECIPE
    return recipe if recipe.is_file() and not config.is_file() else config


def _settings(file: Path) -> dict[str, Any]:
    """The settings in a file; empty if it is not there."""
    if not file.is_file():
        return {}
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: not a run's settings; restore the file, or remove it")
    return content
