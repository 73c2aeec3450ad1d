"""Config files of a command line: found by name, read, and their errors with file and line."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import yaml

from ner_lightning.commands.options.command_line import peek, take
from ner_lightning.errors import UserError
from ner_lightning.runs.folder import Run
from ner_lightning.runs.shipped import names, shipped, shipped_config
from ner_lightning.system.user_paths import without_tilde
from ner_lightning.system.yaml_keys import read_yaml

CONFIG = ("--config", "-c")
# Settings that are groups of others: a string in their place would be read as a file.
GROUPS = {
    "model": ("architecture", "lora", "loss", "optimizer", "runtime", "cache"),
    "data": ("files", "encoding", "batches", "limits", "supervision"),
}


class Key(NamedTuple):
    """A key of a config file, and the line in which it stands, from 1."""

    name: str
    line: int


def config_files(words: Sequence[str]) -> list[str]:
    """The config files of a command line of `find_configs`, or of the parser's words that it leads to."""
    rest = list(words)
    return [file for _ in words if (file := take(rest, "--config")) is not None]


def with_run_name(words: list[str]) -> list[str]:
    """A command line of `find_configs`; it names the run after its first file unless told otherwise."""
    config = peek(words, "--config")
    if config is None or peek(words, "--name") is not None:
        return words
    return [f"--name={Path(config).stem}", *words]  # in front, so that the file's own name wins


def find_configs(args: Sequence[str]) -> list[str]:
    """A command line whose config files come first, so that options win over files wherever they stand.

    Shipped configs are found by name from any folder.

    Raises:
        UserError: a config file does not exist, is not UTF-8, not YAML, or holds something other than
            options; the parser would name neither file nor line.
    """
    files, rest = [], []
    remaining = iter(args)
    for word in map(shipped, remaining):
        option, equals, value = word.partition("=")
        if option not in CONFIG:
            rest.append(word)
            continue
        following = value if equals else next(remaining, None)
        if following is None:
            raise UserError(f"{option} lacks its value")
        files.append(shipped_config(without_tilde(shipped(following))))
    for file in files:
        if ":" in file:  # YAML itself may stand there
            continue
        if Path(file).is_file():
            read_config(file)
        elif not Path(file).exists():  # otherwise it may be a pipe
            raise UserError(f"--config {file}: there is no such file; {_similar(file)}")
    return [*(word for file in files for word in (f"--config={file}", *_paths_of_run(file))), *rest]


def _paths_of_run(file: str) -> list[str]:
    """Options for what a run's config file names relative to another folder, which follow it."""
    path = Path(file)
    if ":" in file or not path.is_file() or not (path.parent / "run.json").is_file():
        return []
    from ner_lightning.commands.options.found_paths import BACKBONE, PATHS, found_paths  # costs time

    found = found_paths(read_config(file), Run(path.parent), (*PATHS, BACKBONE))
    return [f"--{key}={value}" for key, value in found.items()]


def _similar(file: str) -> str:
    name = file.removeprefix("configs/").removesuffix(".yaml")
    close = difflib.get_close_matches(name, names(), n=1, cutoff=0.7)
    listed = "`ner-lightning configs` lists those that are shipped"
    return f"did you mean configs/{close[0]}.yaml? {listed}" if close else listed


def read_config(path: str | Path) -> dict[str, Any]:
    """Reads a config file.

    Raises:
        UserError: it is not UTF-8, not YAML, holds something other than options, or an option twice.
    """
    try:
        content, twice = read_yaml(_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it holds a character that YAML does not allow"
        raise UserError(f"--config {path}{position}: not YAML: {problem}") from None
    if twice is not None:
        raise UserError(f"--config {path}:{twice.line}: {twice}")
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds {shorten(str(content), 40, placeholder=' ...')!r}"
        raise UserError(
            f"--config {path} {found}; it must hold options, such as\nmodel:\n  attention: causal"
        )
    for name in ("trainer", "model", "data"):
        if not isinstance(content.get(name, {}), dict):
            raise UserError(f"--config {path}: {name} must hold options, each on a line of its own below it")
        for group in GROUPS.get(name, ()):
            if not isinstance(content.get(name, {}).get(group, {}), dict):
                raise UserError(
                    f"--config {path}: {name}.{group} must hold options, each on a line of its own below it; "
                    "without any, leave it out"
                )
    return content


def keys_of(path: str | Path) -> Iterator[Key]:
    """The keys of a config file that `read_config` accepts, each after those that it is below."""
    yield from _keys(yaml.compose(_text(path)), "")


def all_keys(words: Sequence[str]) -> Iterator[tuple[str, Key]]:
    """The keys of all config files of a command line of `find_configs`, each with its file."""
    for file in config_files(words):
        if ":" not in file and Path(file).is_file():
            yield from ((file, key) for key in keys_of(file))


def _keys(node: yaml.Node | None, above: str) -> Iterator[Key]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                yield Key(above + key.value, key.start_mark.line + 1)
                yield from _keys(value, f"{above}{key.value}.")


def _text(path: str | Path) -> str:
    from ner_lightning.data.sentence import read_lines

    return "\n".join(read_lines(path))
