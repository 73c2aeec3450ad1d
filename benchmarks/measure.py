"""What all measurements share: rounds in alternating order, medians with spread, rows of the results."""

import argparse
import json
import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ner_lightning.runs import provenance
from ner_lightning.runs.results import add_rows, describe_data

Rounds = dict[str, list[float]]
DATA = Path("data/conll2003")
RECIPE = "configs/smollm2_conll2003.yaml"
BUDGET = "configs/with/token_budget.yaml"


def recipe() -> dict[str, Any]:
    """The model's settings in the shipped recipe."""
    model: dict[str, Any] = yaml.safe_load(Path(RECIPE).read_text(encoding="utf-8"))["model"]
    return model


def budget() -> int:
    """Sub-tokens of a training step with `BUDGET`, padding included."""
    tokens: int = yaml.safe_load(Path(BUDGET).read_text(encoding="utf-8"))["data"]["batches"]["tokens"]
    return tokens


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int, kept: Path | None = None) -> Rounds:
    """Calls each side once a round, in alternating order, so that what else the machine does falls on all.

    Args:
        sides: what is called, by name; each returns its figure.
        rounds: how many.
        kept: a file of what was measured, a line each, by which a measurement that was stopped goes on.
    """
    found: Rounds = {name: [] for name in sides}
    lines = kept.read_text(encoding="utf-8").splitlines() if kept is not None and kept.exists() else []
    for name, value in map(json.loads, lines):
        found[name].append(value)
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            if len(found[name]) > number:
                continue
            found[name].append(sides[name]())
            print(f"round {number + 1}/{rounds}  {name:40} {found[name][-1]:10.2f}", flush=True)
            if kept is not None:
                with kept.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps([name, found[name][-1]]) + "\n")
    return found


def ratio(found: Rounds, one: str, other: str) -> list[float]:
    """One side over another, round by round."""
    return [a / b for a, b in zip(found[one], found[other], strict=True)]


def add_record_option(parser: argparse.ArgumentParser) -> None:
    """The option that all measurements have."""
    parser.add_argument("--record", type=Path, help="the results file to add rows to")


def report(
    found: Rounds,
    *,
    kind: str,
    script: str,
    words: Sequence[str],
    record: Path | None,
    config: str = "smollm2_conll2003",
    data: str = "",
) -> None:
    """Prints medians and spread, and records them.

    Args:
        found: each figure's value in every round.
        kind: which table they belong to.
        script: the program's name.
        words: its options.
        record: the results file; None records nothing.
        config: what was measured.
        data: on what.
    """
    for name, values in found.items():
        spread = f"({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
        print(f"{name:56} {statistics.median(values):10.2f} {spread}")
    if record is None:
        return
    kept = _without(_without(words, "--record"), "--kept")
    about = {
        "config": config,
        "overrides": _other_model(words),
        "data": data,
        "split": kind,
        "seed": 0,
        "command": shlex.join(["python", f"benchmarks/{script}", *kept]),
        **provenance.provenance(),
    }
    rows = [
        about
        | {
            "metric": name,
            "value": statistics.median(values),
            "spread": f"{min(values):.2f} to {max(values):.2f}",
            "rounds": values,
        }
        for name, values in found.items()
    ]
    add_rows(rows, record)


def _other_model(words: Sequence[str]) -> list[str]:
    """What a command line measures in place of the model that the row's `config` names."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--backbone")
    parser.add_argument("--tiny", action="store_true")
    known, _ = parser.parse_known_args(words)
    return [f"--backbone {known.backbone}"] * bool(known.backbone) + ["--tiny"] * known.tiny


def _without(words: Sequence[str], option: str) -> list[str]:
    """A command line less an option and its value, a file of this machine that changes nothing."""
    found, follows = [], False
    for word in words:
        if not follows and not word.startswith(option):
            found.append(word)
        follows = word == option
    return found


def described(folder: Path, split: str = "train") -> str:
    """The data that was measured on, for a row."""
    import hashlib

    file = folder / f"{split}.txt"
    return describe_data(str(file), f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}")
