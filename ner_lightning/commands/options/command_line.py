"""Options: what is read off a command line before any parser, and the parser of our own commands."""

import argparse
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ner_lightning.errors import UserError
from ner_lightning.system.user_paths import without_tilde

# Suffixes of files that a report or a model could be taken for.
REPORTS = (".html", ".htm", ".md", ".pdf", ".txt", ".json", ".csv", ".docx")
MODELS = (".onnx", ".zip", ".ckpt", ".pt", ".bin", ".safetensors", ".gguf")
# Options of fit, validate and test that have no value.
FLAGS = ("-h", "--help", "--help-all", "--print_config", "--trust_remote_code")
SCORED_SPLITS = ("test", "valid")  # what can be scored
RUNS = "runs"  # the folder of run folders, unless told otherwise
_NAMED = "named_runs"  # the attribute of `--run`
_PATHS = ("FILE", "DIR", "INPUT", "RUN")  # what help calls values that are paths


def take(words: list[str], option: str) -> str | None:
    """Removes an option and its value from a command line; returns the value, None without the option.

    Raises:
        UserError: the option is the last word.
    """
    for index, word in enumerate(words):
        if word == option:
            if index + 1 == len(words):
                raise UserError(f"{option} lacks its value")
            del words[index]
            return words.pop(index)
        if word.startswith(option + "="):
            return words.pop(index).partition("=")[2]
    return None


def peek(words: list[str], option: str) -> str | None:
    """An option's value, None without the option."""
    return take(list(words), option)


def take_run(words: list[str]) -> str | None:
    """Removes RUN from a command line of fit, validate or test, where it stands by itself or after `--run`.

    Args:
        words: the options; all but flags have a value, after `=` or as the next word.

    Raises:
        UserError: there are several, or the word by itself is a recipe.
    """
    runs = []
    while (run := take(words, "--run")) is not None:
        runs.append(run)
    positional, rest = [], []
    remaining = iter(words)
    for word in remaining:
        if not word.startswith("-"):
            positional.append(word)
            continue
        rest.append(word)
        if "=" not in word and word not in FLAGS:
            rest += [value for value in [next(remaining, None)] if value is not None]
    words[:] = rest
    if positional and Path(positional[0]).suffix in {".yaml", ".yml"}:
        raise UserError(f"{positional[0]} is not a run; name a recipe with --config {positional[0]}")
    if len(positional) > 1:
        raise UserError(f"unexpected argument {positional[1]}: the run is {positional[0]} already")
    _check_once(positional, runs)
    return next(iter(positional + runs), None)


def _check_once(positional: list[str], runs: Sequence[str], *, several: bool = False) -> None:
    """Checks that a run is named in one way, and once where `several` are not allowed."""
    if positional and runs:
        raise UserError(f"the run is named twice, as {positional[0]} and as --run {runs[0]}; name it once")
    if len(runs) > 1 and not several:
        raise UserError(f"the run is named twice, as --run {runs[0]} and --run {runs[1]}; name it once")


class Parser(argparse.ArgumentParser):
    """The options of one of our commands: no abbreviations, and errors of one line.

    Args:
        command: its name.
        description: what it does.
        settings: as for argparse.
    """

    def __init__(self, command: str, description: str, **settings: Any) -> None:
        prog = f"ner-lightning {command}"
        super().__init__(prog=prog, description=description, allow_abbrev=False, **settings)
        self._run: str | None = None  # the attribute of a run that is named without an option

    def add_run(self, where: str = "run", nargs: str = "?", text: str | None = None) -> None:
        """Adds RUN, as a word of its own or after `--run`, and the folder of runs.

        Args:
            where: the attribute that gets it.
            nargs: `?` for one at most, `*` for any number.
            text: its help; None for any trained tagger.
        """
        self._run = where
        text = text or "run folder, checkpoint or exported folder (default: the last run)"
        self.add_argument(where, nargs=nargs, metavar="RUN", help=text)
        several = "; may be repeated" if nargs == "*" else ""
        self.add_argument("--run", action="append", dest=_NAMED, metavar="RUN", help=f"same as RUN{several}")
        self.add_runs()

    def add_runs(self) -> None:
        """Adds the folder of runs."""
        self.add_argument("--runs", default=RUNS, metavar="DIR", help="the folder of run folders")

    def add_resumed_run(self) -> None:
        """Adds a run to resume, and the folder of runs."""
        self.add_argument("--run", metavar="RUN", help="resume a stopped run, with its own settings")
        self.add_runs()

    def add_device(self) -> None:
        """Adds where the model runs."""
        self.add_argument("--device", help="cpu, cuda, cuda:N or mps (default: a CUDA GPU if there is one)")

    def add_engine(self, default: str) -> None:
        """Adds what computes.

        Args:
            default: what was faster at what, in words.
        """
        text = f"what computes on the CPU; auto: what was faster at export for {default} (auto)"
        self.add_argument("--engine", choices=("auto", "torch", "openvino"), default="auto", help=text)

    def add_backbone(self) -> None:
        """Adds where the backbone is now, if it is not where it was."""
        text = "where RUN's backbone is now, if its folder was moved; its weights are checked"
        self.add_argument("--backbone", metavar="DIR", help=text)

    def add_selection(self) -> None:
        """Adds which entities are predicted."""
        self.add_argument(
            "--min_score",
            action="append",
            metavar="X",
            help="every entity of at least this probability; TYPE=X for one type; may be repeated "
            "(default: those of the best tag sequence)",
        )
        text = "with --min_score, entities that share words: keep them, or the most probable (resolve)"
        self.add_argument("--overlaps", choices=("resolve", "keep"), help=text)

    def add_trust(self) -> None:
        """Adds the consent to run code that a trained tagger brings or names."""
        text = "run Python code that comes with the backbone, or that RUN names (default: refuse it)"
        self.add_argument("--trust_remote_code", action="store_true", help=text)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parses.

        Raises:
            UserError: an option is not as it must be, or runs are named in both ways.
        """
        options, rest = super().parse_known_args(args, namespace)
        self._check_filled(options)
        self._expand(options)
        runs = getattr(options, _NAMED, None)
        if self._run is not None and runs:
            positional = getattr(options, self._run)
            several = isinstance(positional, list)
            _check_once(positional if several or not positional else [positional], runs, several=several)
            setattr(options, self._run, runs if several else runs[0])
        return options, rest

    def _check_filled(self, options: argparse.Namespace) -> None:
        """Refuses empty values, such as those of a shell variable that is not set."""
        for action in self._actions:
            value = getattr(options, action.dest, None)
            if value == "" or (isinstance(value, list) and "" in value):
                name = action.option_strings[0] if action.option_strings else action.metavar or action.dest
                raise UserError(f"{name} is empty; give it a value, or leave it out")

    def _expand(self, options: argparse.Namespace) -> None:
        """Replaces `~` in paths, which a shell leaves alone after `=`."""
        for action in self._actions:
            value = getattr(options, action.dest, None)
            if action.metavar in _PATHS and isinstance(value, str):
                setattr(options, action.dest, without_tilde(value))
            elif action.metavar in _PATHS and isinstance(value, list):
                setattr(options, action.dest, list(map(without_tilde, value)))

    def error(self, message: str) -> NoReturn:
        """Turns an error of the parser into one that says what to do.

        Raises:
            UserError: always.
        """
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown is None:
            raise UserError(message)
        word = unknown[1].partition("=")[0]
        if not word.startswith("-"):
            raise UserError(f"unexpected argument {word}; see `{self.prog} --help`")
        known = [name for action in self._actions for name in action.option_strings]
        close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]}?" if close else f"see `{self.prog} --help`"
        raise UserError(f"there is no option {word}; {hint}")


def check_device(options: argparse.Namespace) -> None:
    """Checks `--device` before anything is loaded.

    Raises:
        UserError: this machine has no such device.
    """
    if options.device is not None:
        from ner_lightning.model.devices import chosen_device

        chosen_device(options.device)


def check_selection(options: argparse.Namespace) -> None:
    """Checks `--min_score` and `--overlaps` before anything is loaded; types are only known after that.

    Raises:
        UserError: a number is outside its range, or `--overlaps` has no effect.
    """
    from ner_lightning.inference.selection import read_min_score

    read_min_score(options.min_score or ())
    if options.overlaps and not options.min_score:
        raise UserError("--overlaps has no effect here: it is for --min_score X; leave it out, or add that")


def check_folder(option: str, value: str) -> None:
    """Checks that a folder to be written is not named like a file.

    Raises:
        UserError: it is, and does not exist.
    """
    if Path(value).suffix.lower() in (*REPORTS, *MODELS) and not Path(value).is_dir():
        raise UserError(f"{option} {value} is a folder for the files to be written; name it without a suffix")
