"""Cells: trainings on changed data, each with rows when it ends, so that a program can stop and resume."""

import argparse
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import record
import results

from ner_lightning.commands.api import RunResult, evaluate, option_words, train
from ner_lightning.runs.folder import STAGES, Run
from ner_lightning.runs.results import FIELDS, add_rows, describe_data, read_rows


@dataclass(frozen=True)
class Cells:
    """The trainings of a program.

    Attributes:
        kind: which table their rows belong to, the first word or words of their config.
        configs: a recipe and overlays.
        options: options that all trainings share.
        command: the program's command line.
        file: the results file.
        tested: whether the test set is scored as well.
    """

    kind: str
    configs: Sequence[str]
    options: Mapping[str, Any]
    command: Sequence[str]
    file: Path
    tested: bool = True

    def run(self, names: Sequence[str], seed: int, options: Mapping[str, Any]) -> RunResult | None:
        """Trains and scores a cell, and records it.

        Args:
            names: what distinguishes it from other cells.
            seed: of the training.
            options: its options beside the shared ones.

        Returns:
            the run; None if it has rows already.
        """
        return self.measure(names, seed, lambda given: train(self.configs, given | options))

    def measure(
        self, names: Sequence[str], seed: int, make: Callable[[dict[str, Any]], RunResult]
    ) -> RunResult | None:
        """Makes a run and scores it, and records it.

        Args:
            names: what distinguishes it from other cells.
            seed: of the training.
            make: makes the run, from the options that all cells share, a name and the seed.

        Returns:
            the run; None if it has rows already.
        """
        recipe = " ".join([self.kind, *(Path(file).stem for file in self.configs)])
        overrides = [*names, *(f"{key}={value}" for key, value in self.options.items())]
        shared: dict[str, Any] = {"config": recipe, "overrides": overrides, "seed": seed}
        label = f"{', '.join(names)}, seed {seed}"
        if any(all(row[k] == v for k, v in shared.items()) for row in read_rows(self.file)):
            print(f"{label}: measured already", flush=True)
            return None
        begin = time.monotonic()
        given: dict[str, Any] = {**self.options, "name": self.run_name(names)}
        run = make(given | {"seed_everything": seed})
        if self.tested:
            evaluate(run)
        shared["minutes"] = (time.monotonic() - begin) / 60
        shared["command"] = shlex.join(["python", *self.command])
        rows = rows_of(run.path, shared)
        add_rows(rows, self.file)
        scores = {f"{row['split']} {row['metric']}": f"{row['value']:.4f}" for row in rows}
        print(f"{label}: {scores}, {shared['minutes']:.1f} minutes", flush=True)
        return run

    def run_name(self, names: Sequence[str]) -> str:
        """The name of a cell's runs, whatever the recipe and the shared options."""
        return re.sub(r"[^\w.-]+", "_", "_".join([self.kind, *names]))

    def find(self, names: Sequence[str], seed: int, options: Mapping[str, Any]) -> Path | None:
        """The latest finished run of a cell that `run` trains, with the same recipe, options and seed."""
        given = {**self.options, "name": self.run_name(names), "seed_everything": seed, **options}
        words = {*(f"--config={file}" for file in self.configs), *option_words(given)}
        for path in reversed(runs_of(given["name"])):
            about = Run(path).read("run.json")
            if "finished" in about and set(about["command"][2:]) == words:
                return path
        return None


def runs_of(name: str) -> list[Path]:
    """The runs of a name, by number."""
    return sorted(Path("runs").glob(f"{name}/[0-9]*"), key=lambda path: int(path.name))


def add_options(parser: argparse.ArgumentParser, recipe: Sequence[str]) -> None:
    """The options that all such programs have."""
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--config", nargs="+", default=list(recipe), help="a recipe and overlays")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of all cells")
    parser.add_argument("--valid_only", action="store_true", help="do not score the test set")
    parser.add_argument("--record", type=Path, default=results.FILE, help="the results file to add rows to")


def cells_of(kind: str, script: str, options: argparse.Namespace, words: Sequence[str]) -> Cells:
    """The cells that the options of `add_options` describe."""
    shared = dict(option.split("=", 1) for option in options.option)
    command = [f"benchmarks/{script}", *words]
    return Cells(kind, options.config, shared, command, options.record, tested=not options.valid_only)


def rows_of(run: Path, shared: dict[str, Any]) -> list[dict[str, Any]]:
    """The scores of a run, each counted again from the predictions."""
    metrics, about = Run(run).read("metrics.json"), Run(run).read("run.json")
    rows = []
    for split, stage in STAGES.items():
        file = run / f"predictions.{split}.jsonl"
        if file.is_file():
            counted = record.check(file, stage, metrics)
            source = about["data"][split]
            about_split = {
                "data": describe_data(source["origin"], source["fingerprint"]),
                "split": split,
                "versions": about["versions"],
                "machine": about["machine"],
                "commit": about["commit"],
            }
            rows += [shared | about_split | {"metric": m, "value": counted[m]} for m in record.METRICS]
    return [{name: row[name] for name in (*FIELDS, "minutes")} for row in rows]
