"""Records finished runs in docs/results.json: python benchmarks/record.py RUN [RUN ...].

Everything in a row comes from the run folder. Before a score is recorded, the entities behind it are
counted again from the prediction file.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import results

from ner_lightning.data.schemes import spans

METRICS = ("precision", "recall", "f1", "accuracy")
STAGES = {"valid": "val", "test": "test"}


def recount(file: Path) -> dict[str, float]:
    """Entity counts and scores of a prediction file."""
    correct = predicted = gold = right = words = 0
    with file.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            row = json.loads(line)
            found, true = set(spans(row["predicted"])), set(spans(row["gold"]))
            correct += len(found & true)
            predicted += len(found)
            gold += len(true)
            words += len(row["gold"])
            right += sum(a == b for a, b in zip(row["gold"], row["predicted"], strict=True))
    return {
        "correct": correct,
        "predicted": predicted,
        "gold": gold,
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / gold if gold else 0.0,
        "f1": 2 * correct / (predicted + gold) if predicted + gold else 0.0,
        "accuracy": right / words if words else 0.0,
    }


def rows_of(run: Path) -> list[dict[str, Any]]:
    """The rows of a run folder.

    Raises:
        SystemExit: a prediction file does not give the scores that the run noted.
    """
    about, metrics = (
        json.loads((run / name).read_text(encoding="utf-8")) for name in ("run.json", "metrics.json")
    )
    configs, overrides = split_command(about["command"])
    rows = []
    for split, stage in STAGES.items():
        file = run / f"predictions.{split}.jsonl"
        if not file.is_file():
            continue
        counted = recount(file)
        for metric in METRICS:
            noted = metrics[f"{stage}/{metric}"]
            # Lightning hands logged values on in single precision.
            if abs(noted - counted[metric]) > 1e-6:
                sys.exit(f"{file} gives {metric} {counted[metric]}, but the run noted {noted}")
            described = about["data"][split]
            rows.append(
                {
                    "config": " ".join(configs),
                    "overrides": overrides,
                    "data": f"{Path(described['origin']).name} {described['fingerprint'][:23]}",
                    "split": split,
                    "metric": metric,
                    "value": counted[metric],
                    "entities": {name: counted[name] for name in ("correct", "predicted", "gold")},
                    "seed": about["seed"],
                    "command": " ".join(about["command"]),
                    "machine": about["machine"],
                    "versions": about["versions"],
                    "commit": about["commit"],
                }
            )
    return rows


def split_command(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the config files in a command, and the options that change what is trained."""
    configs, overrides = [], []
    words = iter(command[2:])
    for word in words:
        option, equals, value = word.partition("=")
        if not equals:
            value = next(words, "")
        if option in {"--config", "-c"}:
            configs.append(Path(value).stem)
        elif option not in {"--name", "--runs"}:
            overrides.append(f"{option} {value}")
    return configs, overrides


def main(args: Sequence[str] | None = None) -> int:
    """Records the runs that are named."""
    parser = argparse.ArgumentParser(description="Records finished runs in docs/results.json.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--file", type=Path, default=results.FILE)
    options = parser.parse_args(args)
    for run in options.runs:
        rows = rows_of(run)
        results.add(rows, options.file)
        print(f"{run}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
