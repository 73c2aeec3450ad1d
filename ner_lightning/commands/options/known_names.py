"""Names of options and of keys in config files, checked by the recipes' schema before heavy imports."""

import argparse
import difflib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ner_lightning.commands.options.command_line import FLAGS, Parser, peek
from ner_lightning.commands.options.config_files import CONFIG, all_keys, find_configs
from ner_lightning.errors import UserError
from ner_lightning.runs.folder import run_path
from ner_lightning.runs.shipped import SCHEMA, names, shipped_config
from ner_lightning.system.user_paths import expanded

# What the parsers of recipes know beside their keys.
BESIDE = (
    "config",
    "ckpt_path",
    "weights_only",
    "verbose",
    "run",
    "backbone",
    "model.members",
    "print_config",
)


# What tells a fit what to train, or is no fit.
_TELLS_WHAT = {
    "config",
    "ckpt_path",
    "run",
    "backbone",
    "model.backbone",
    "model",
    "--help-all",
    "--print_config",
}


def check_start(command: str, words: Sequence[str]) -> None:
    """Checks the names on a command line of fit, validate or test, and that a fit is told what to train.

    Raises:
        UserError: an option or a key does not exist, or a fit names neither recipe, backbone nor run.
    """
    options, runs = _split(words)
    for run in runs:
        if not Path(run).exists() and shipped_config(run) != run:
            raise UserError(f"{run} is a recipe, not a run; name it with --config {run}")
    if command == "fit" and not runs and not {*options, *words} & _TELLS_WHAT:
        raise UserError(_how_to_start(words))
    check_names(words)


def _how_to_start(words: Sequence[str]) -> str:
    recipes = ", ".join(name for name in names() if "/" not in name)
    last = run_path(None, expanded(peek(list(words), "--runs") or "runs"))
    resumed = f"\nTo resume the last run, {last.resolve()}: ner-lightning fit --ckpt_path last"
    return (
        "`fit` needs a recipe. To begin: ner-lightning fit --config quickstart\n"
        f"Shipped are {recipes} (`ner-lightning configs` says what each is for); your own: --config FILE"
        + (resumed if last.is_dir() else "")
    )


def check_names(words: Sequence[str], own: Collection[str] = ()) -> None:
    """Checks the options of a command that reads a recipe, and the keys of its config files.

    Values are left to the parser, and so are names below a setting, such as those of a callback.

    Args:
        words: of the command line; all options but flags have a value.
        own: options of the command, not of recipes, to suggest.

    Raises:
        UserError: an option or a key does not exist, or a config file cannot be read.
    """
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    known = [*_names(schema, ""), *BESIDE, *own]
    for option in _split(words)[0]:
        if not _exists(option, schema):
            raise UserError(no_option(option, known))
    for file, key in all_keys(find_configs(words)):
        if not _exists(key.name, schema):
            raise UserError(f"--config {file}:{key.line}: {no_option(key.name, known)}")


def parse_beside_recipe(parser: Parser, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """A command's own options, and the words that are options of a recipe.

    Raises:
        UserError: one of them does not exist, or a config file cannot be read.
    """
    options, rest = parser.parse_known_args(args)
    own = [name.removeprefix("--") for action in parser._actions for name in action.option_strings]
    check_names(rest, own)
    return options, rest


def no_option(name: str, known: Collection[str]) -> str:
    """What is said of an option that does not exist, with the one that was probably meant."""
    if name == "data.limits.test":
        return f"there is no option {name}; all of test is scored: data.limits has train and valid alone"
    close = closest(name, known)
    return f"there is no option {name}; " + (f"did you mean {close}?" if close else "--help-all lists them")


def closest(key: str, keys: Collection[str]) -> str | None:
    """The key that was probably meant: the one whose last part, and then the whole, is most like it."""

    def likeness(other: str) -> tuple[float, float]:
        last = difflib.SequenceMatcher(None, key.rpartition(".")[2], other.rpartition(".")[2]).ratio()
        return round(last, 2), difflib.SequenceMatcher(None, key, other).ratio()

    best = max(keys, key=likeness, default=None)
    return best if best is not None and max(likeness(best)) >= 0.6 else None


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the options but flags, and the words that belong to none."""
    options, others = [], []
    remaining = iter(words)
    for word in remaining:
        name, equals, _ = word.partition("=")
        if not word.startswith("-"):
            others.append(word)
        elif name not in FLAGS:
            options.append("config" if name in CONFIG else name.lstrip("-"))
            if not equals:
                next(remaining, None)
    return options, others


def _exists(name: str, schema: Mapping[str, Any]) -> bool:
    name = name.removesuffix("+")
    return name in BESIDE or _in_schema(name.split("."), schema)


def _in_schema(parts: Sequence[str], schema: Mapping[str, Any]) -> bool:
    below = schema.get("properties") if schema.get("additionalProperties") is False else None
    if not parts or below is None:  # only the parser knows what may stand below a setting
        return True
    part = parts[0].removesuffix("+")
    return part in below and _in_schema(parts[1:], below[part])


def _names(schema: Mapping[str, Any], above: str) -> Iterator[str]:
    for name, entry in schema.get("properties", {}).items():
        yield above + name
        yield from _names(entry, f"{above}{name}.")
