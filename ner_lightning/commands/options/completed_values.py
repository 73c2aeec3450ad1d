"""What a shell offers as the value of an option: choices, run folders, shipped recipes, files."""

import argparse
import inspect
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ner_lightning.runs.shipped import SCHEMA, names
from ner_lightning.system.precision import PRECISIONS

# Values of the trainer's options that are used here; Lightning has more.
TRAINER = {
    "accelerator": ("auto", "cpu", "gpu", "mps"),
    "devices": ("auto", "1"),
    "strategy": ("auto", "ddp"),
    "precision": PRECISIONS,
    "gradient_clip_algorithm": ("norm", "value"),
}
BASH = r"""
_ner_lightning_runs() {
  local run found=()
  for run in runs/last runs/*/*/run.json; do
    [ -e "$run" ] && found+=("${run%/run.json}")
  done
  compgen -W "${found[*]}" -- "$1" || compgen -f -- "$1"
}
_ner_lightning_checkpoints() {
  compgen -W "best last" -- "$1" || compgen -f -- "$1"
}
_ner_lightning_config_files() {
  local shipped="NAMES"
  [[ "$1" == configs/* ]] && shipped="PATHS"
  compgen -W "$shipped" -- "$1"
  compgen -f -- "$1" | grep -E "[.]ya?ml$" | grep -vxF "${shipped// /$'\n'}"
  [ -n "$1" ] && compgen -d -- "$1"
}
_ner_lightning_data_files() {
  compgen -W "sample" -- "$1"
  compgen -f -- "$1"
}
"""
ZSH = """
_ner_lightning_runs() {
  local -a found
  found=(runs/last(N) runs/*/*/run.json(N:h))
  compadd -a found || _files
}
_ner_lightning_checkpoints() { compadd best last; _files }
_ner_lightning_config_files() { compadd NAMES; _files -g "*.(yaml|yml)" }
_ner_lightning_data_files() { compadd sample; _files }
"""
# By metavar: the function in bash and zsh.
FUNCTIONS = {
    "RUN": "_ner_lightning_runs",
    "CHECKPOINT": "_ner_lightning_checkpoints",
    "CONFIG": "_ner_lightning_config_files",
    "DATA": "_ner_lightning_data_files",
}
METAVARS = {"data.dataset": "DATA", "model.backbone": "BACKBONE", "runs": "DIR"}  # by key
FILES = ("FILE", "BACKBONE")


def preambles() -> dict[str, str]:
    """The functions that the scripts call, by shell."""
    shipped = names()
    words = {"NAMES": " ".join(shipped), "PATHS": " ".join(f"configs/{name}.yaml" for name in shipped)}
    scripts = {"bash": BASH, "zsh": ZSH}
    for name, value in words.items():
        scripts = {shell: script.replace(name, value) for shell, script in scripts.items()}
    return scripts


def complete_values(actions: Sequence[argparse.Action]) -> None:
    """Says of each action, for shtab, what its value may be."""
    import shtab

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    settings = dict(_choices(schema, ""))
    for action in actions:
        if action.nargs == 0 or action.choices:
            continue
        metavar = METAVARS.get(action.dest, action.metavar)
        if action.dest in settings:
            action.choices = settings[action.dest]
        elif metavar in FUNCTIONS:
            ours: Any = {"bash": FUNCTIONS[metavar], "zsh": FUNCTIONS[metavar]}
            action.complete = shtab.FILE | ours  # type: ignore[attr-defined]
        elif metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def _choices(schema: Mapping[str, Any], above: str) -> Iterator[tuple[str, list[str]]]:
    """Keys of a recipe that have few possible values, and those."""
    for name, entry in schema.get("properties", {}).items():
        if above == "" and name == "trainer":
            yield from _of_trainer()
        elif values := _values(entry):
            yield above + name, values
        else:
            yield from _choices(entry, f"{above}{name}.")


def _values(entry: Mapping[str, Any]) -> list[str]:
    options = [entry, *entry.get("anyOf", ())]
    chosen = [str(value) for option in options for value in option.get("enum", ())]
    if any(option.get("type") == "boolean" for option in options):
        chosen += ["true", "false"]
    return chosen


def _of_trainer() -> Iterator[tuple[str, list[str]]]:
    from lightning.pytorch import Trainer

    for name, parameter in inspect.signature(Trainer).parameters.items():
        if name in TRAINER:
            yield f"trainer.{name}", list(TRAINER[name])
        elif bool in (parameter.annotation, *typing.get_args(parameter.annotation)):
            yield f"trainer.{name}", ["true", "false"]
