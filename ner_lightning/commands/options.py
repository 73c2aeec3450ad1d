"""What is read off a command line before the parser sees it."""

import argparse
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ner_lightning.errors import UserError

# Suffixes of files that a report or a model could be taken for.
REPORTS = (".html", ".htm", ".md", ".pdf", ".txt", ".json", ".csv", ".docx")
MODELS = (".onnx", ".zip", ".ckpt", ".pt", ".bin", ".safetensors", ".gguf")

_NAMED = "named_runs"  # the attribute of `--run`
# Options of fit, validate and test that have no value.
FLAGS = ("-h", "--help", "--help-all", "--print_config", "--trust_remote_code")


def config_files(words: list[str]) -> list[str]:
    """The config files that a command line names."""
    rest = list(words)
    return [
        value for option in ("--config", "-c") for _ in words if (value := take(rest, option)) is not None
    ]


def named(words: list[str]) -> list[str]:
    """Names the run after its first config file unless told otherwise."""
    config = peek(words, "--config") or peek(words, "-c")
    if config is None or peek(words, "--name") is not None:
        return words
    return [f"--name={Path(config).stem}", *words]  # in front, so that the file's own name wins


def take(words: list[str], option: str) -> str | None:
    """Removes an option and its value from a command line; returns the value, None if it is not there.

    Raises:
        UserError: the option is the last word.
    """
    for place, word in enumerate(words):
        if word == option:
            if place + 1 == len(words):
                raise UserError(f"{option} lacks its value")
            del words[place]
            return words.pop(place)
        if word.startswith(option + "="):
            return words.pop(place).partition("=")[2]
    return None


def peek(words: list[str], option: str) -> str | None:
    """An option's value, None if it is not there."""
    return take(list(words), option)


class Parser(argparse.ArgumentParser):
    """A command's options: none is abbreviated, and a mistake is said in a line.

    Args:
        settings: as for argparse.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self._run: str | None = None  # where the run is put that is named without an option

    def add_run(self, where: str = "run", nargs: str = "?", *, text: str) -> None:
        """Adds RUN, as a word of its own or after `--run`.

        Args:
            where: the attribute that gets it.
            nargs: `?` for one at most, `*` for any number.
            text: its help.
        """
        self._run = where
        self.add_argument(where, nargs=nargs, metavar="RUN", help=text)
        several = "; may be repeated" if nargs == "*" else ""
        self.add_argument(
            "--run", action="append", dest=_NAMED, metavar="RUN", help=f"the same as RUN alone{several}"
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parses.

        Raises:
            UserError: an option is not as it must be, or runs are named in both ways.
        """
        options, rest = super().parse_known_args(args, namespace)
        named = getattr(options, _NAMED, None)
        if self._run is not None and named:
            given = getattr(options, self._run)
            one = not isinstance(given, list)
            _check_once(given, named, several=not one)
            setattr(options, self._run, named[0] if one else named)
        return options, rest

    def error(self, message: str) -> NoReturn:
        """Says what is wrong.

        Raises:
            UserError: always.
        """
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown is None:
            raise UserError(message)
        word = unknown[1].partition("=")[0]
        if not word.startswith("-"):
            raise UserError(f"{word} is one word too many; `{self.prog} --help` says what there is")
        known = [name for action in self._actions for name in action.option_strings]
        close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]}?" if close else f"`{self.prog} --help` lists them"
        raise UserError(f"there is no option {word}; {hint}")


def add_run(parser: Parser) -> None:
    """Adds RUN, which any trained tagger may be, and the folder of runs for its default."""
    parser.add_run(text="run folder, checkpoint or exported folder (default: the last run)")
    parser.add_argument("--runs", default="runs", metavar="DIR", help="the folder of run folders")


def take_run(words: list[str]) -> str | None:
    """Removes RUN from a command line of fit, validate or test, where it may stand alone or after `--run`.

    Args:
        words: the options; all but flags have a value, after `=` or as the next word.

    Raises:
        UserError: there are several, or what stands alone is a recipe.
    """
    named = []
    while (run := take(words, "--run")) is not None:
        named.append(run)
    alone: list[str] = []
    rest: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if not word.startswith("-"):
            alone.append(word)
            continue
        rest.append(word)
        if "=" not in word and word not in FLAGS:
            rest += [value for value in [next(remaining, None)] if value is not None]
    words[:] = rest
    if alone and Path(alone[0]).suffix in {".yaml", ".yml"}:
        raise UserError(f"{alone[0]} is no run; a recipe is named with --config {alone[0]}")
    if len(alone) > 1:
        raise UserError(f"{alone[1]} is one word too many: {alone[0]} is the run already")
    _check_once(alone, named)
    return next(iter(alone + named), None)


def _check_once(alone: Any, named: Sequence[str], *, several: bool = False) -> None:
    """Checks that a run is named in one way.

    Raises:
        UserError: it is named in both, or twice where one is wanted.
    """
    if alone and named:
        first = alone if isinstance(alone, str) else alone[0]
        raise UserError(f"the run is named twice, as {first} and as --run {named[0]}; name it once")
    if len(named) > 1 and not several:
        raise UserError(f"the run is named twice, as --run {named[0]} and --run {named[1]}; name it once")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Adds the consent to run code that a trained tagger brings or names."""
    parser.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="run Python code that comes with the backbone, or that RUN names (default: refuse it)",
    )


def check_folder(option: str, value: str) -> None:
    """Checks that a folder to be written is not called like a file.

    Raises:
        UserError: it is, and does not exist.
    """
    if Path(value).suffix.lower() in (*REPORTS, *MODELS) and not Path(value).is_dir():
        raise UserError(f"{option} {value} is a folder for the files to be written; name it without a suffix")
