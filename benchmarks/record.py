"""Records finished runs in docs/results.json: python benchmarks/record.py RUN [RUN ...].

Everything in a row comes from the run folder. Before a score is recorded, the entities behind it are
counted again from the prediction file.
"""

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import prompt_table
import record_analysis
import results
import yaml

from ner_lightning.data.schemes import spans
from ner_lightning.errors import UserError
from ner_lightning.metrics.from_counts import COUNTED, scores
from ner_lightning.runs.folder import STAGES, Run
from ner_lightning.runs.results import add_rows, describe_data

METRICS = ("precision", "recall", "f1", "accuracy")
FLAGS = ("--constrained", "--trust_remote_code")  # options without a value


def recount(file: Path) -> tuple[dict[str, float], dict[str, dict[str, int]]]:
    """Counts and scores of a prediction file: over all types, and the counts of each.

    Raises:
        UserError: a line is not a sentence's predictions.
    """
    counts = {name: Counter[str]() for name in COUNTED}
    right = words = 0
    with file.open(encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line)
                found, true = set(spans(row["predicted"])), set(spans(row["gold"]))
                right += sum(a == b for a, b in zip(row["gold"], row["predicted"], strict=True))
            except (KeyError, ValueError, UserError) as error:
                raise UserError(f"{file}:{number}: not a sentence with its predictions ({error})") from None
            words += len(row["gold"])
            for name, those in zip(COUNTED, (found & true, found, true), strict=True):
                counts[name].update(span.type for span in those)
    sums = {name: counts[name].total() for name in COUNTED}
    accuracy = right / words if words else 0.0
    types = {kind for counter in counts.values() for kind in counter}
    by_type = {kind: {name: counts[name][kind] for name in COUNTED} for kind in types}
    micro = scores([sums[name] for name in COUNTED])
    return sums | micro._asdict() | {"accuracy": accuracy}, by_type


def check(file: Path, stage: str, metrics: dict[str, Any]) -> dict[str, float]:
    """Counts a prediction file again and compares with what the run noted.

    The noted counts of each type are whole numbers and must be the same, so the F1 behind them is the
    same to the last digit. Lightning hands the noted scores on in single precision.

    Raises:
        UserError: they differ.
    """
    counted, by_type = recount(file)
    noted = metrics.get(f"{stage}/by_type", {})
    for kind in sorted(by_type.keys() | noted.keys()):
        for name in COUNTED:
            one, other = by_type.get(kind, {}).get(name, 0), noted.get(kind, {}).get(name, 0)
            if one != other:
                raise UserError(f"{file} has {one} {name} entities of {kind}, but the run noted {other}")
    for metric in METRICS:
        value = metrics.get(f"{stage}/{metric}")
        if value is None or abs(value - counted[metric]) > 1e-6:
            raise UserError(f"{file} gives {metric} {counted[metric]}, but the run noted {value}")
    return counted


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run folder.

    Raises:
        UserError: it is not a finished run's, or a prediction file does not give the noted scores.
    """
    run = Run(folder)
    about, metrics = run.read("run.json"), run.read("metrics.json")
    if "val_loss" in about.get("pretraining", {}):
        return [_pretraining(folder, about)]
    if not about or not metrics:
        raise UserError(f"{folder} is not the folder of a finished run (run.json and metrics.json)")
    configs, overrides = recipe_of(about)
    if not configs or "config" in configs:
        # A continued run knows only its own config.yaml; what was asked for at its start is not in it.
        raise UserError(f"{folder}: no recipe is named in its command ({shlex.join(about['command'])})")
    prompting = about.get("prompting")
    if prompting is not None:
        configs = [prompt_table.PROMPTED, *configs]
    rows = []
    for split, stage in STAGES.items():
        file = folder / f"predictions.{split}.jsonl"
        if not file.is_file():
            continue
        counted = check(file, stage, metrics)
        described = about["data"][split]
        shared = {
            "config": " ".join(configs),
            "overrides": overrides,
            "data": describe_data(described["origin"], described["fingerprint"]),
            "split": split,
        }
        source = {
            "entities": {name: counted[name] for name in COUNTED},
            "seed": about["seed"],
            "command": shlex.join(about["command"]),
            "machine": about["machine"],
            "versions": about["versions"],
            "commit": about["commit"],
        }
        rows += [shared | {"metric": name, "value": counted[name]} | source for name in METRICS]
        if prompting is not None:
            rows += prompt_table.counts(prompting, shared | source)
    if not rows:
        raise UserError(f"{folder} has no predictions.valid.jsonl or predictions.test.jsonl")
    if prompting is not None:
        return rows
    shared = {"config": " ".join(configs), "overrides": overrides}
    origin = {name: about[name] for name in ("seed", "machine", "versions", "commit")}
    rows += record_analysis.rows_of(folder, shared | origin | {"command": shlex.join(about["command"])})
    return rows


def _pretraining(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The row of a backbone that learned to fill in hidden words."""
    configs, overrides = split_command(about["command"])
    described = about["data"]["valid"]
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    return {
        "config": " ".join([results.PRETRAINED, *configs]),
        "overrides": overrides,
        "data": describe_data(described["origin"], described["fingerprint"]),
        "split": "valid",
        "metric": "cross-entropy of hidden sub-tokens",
        "value": about["pretraining"]["val_loss"],
        "seed": recipe["seed_everything"],
        "command": shlex.join(about["command"]),
    } | {name: about[name] for name in ("machine", "versions", "commit", "minutes", "peak_memory_bytes")}


def recipe_of(about: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Names of the config files of a run, and options that change what is trained, but for the seed.

    An ensemble or a soup has those of its members: once if they are seeds of one recipe, else each one's. A
    student has its own and its teacher's.
    """
    members = about.get("members")
    if members is None:
        configs, overrides = split_command(about["command"] or ())
        if not about.get("teacher"):
            return configs, overrides
        names, options = recipe_of(about["teacher"]["teacher"])
        return [*configs, "distilled"], [*overrides, f"from {' '.join([*names, *options])}"]
    made = about.get("soup")
    kind = "ensemble" if made is None else "soup"
    rank = [] if made is None or made["lost"] is None else [f"--soup_rank {made['rank']}"]
    recipes = [recipe_of(member) for member in members]
    seeds = [str(member["seed"]) for member in members]
    configs, overrides = recipes[0]
    if all(recipe == recipes[0] for recipe in recipes):
        return [*configs, kind] if configs else [], [*overrides, *rank, f"of seeds {', '.join(seeds)}"]
    each = [
        " ".join([*names, *options, f"seed {seed}"])
        for (names, options), seed in zip(recipes, seeds, strict=True)
    ]
    return [configs[0], kind] if configs else [], [*rank, f"of {' + '.join(each)}"]


def split_command(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the config files in a command, and options that change what is trained, but for the seed."""
    configs, overrides = [], []
    words = iter(command[3 if "distill" in command[:2] else 2 :])  # the teacher is the first word
    for word in words:
        option, equals, value = word.partition("=")
        if not equals:
            value = next(words, "") if option not in FLAGS else ""
        if option in {"--config", "-c"}:
            configs.append(Path(value).stem)
        elif option == "--text":
            overrides.append(f"{option} {Path(value).name}")
        elif option not in {"--name", "--runs", "--seed_everything", "--trust_remote_code"}:
            overrides.append(f"{option} {value}".strip())
    return configs, overrides


def main(args: Sequence[str] | None = None) -> int:
    """Records the runs that are named."""
    parser = argparse.ArgumentParser(description="Records finished runs in docs/results.json.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--file", type=Path, default=results.FILE)
    options = parser.parse_args(args)
    try:
        found = {run: rows_of(run) for run in options.runs}
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for run, rows in found.items():  # all of them or none
        add_rows(rows, options.file)
        print(f"{run}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
