"""The `ner-lightning` command: picks the subcommand, and prints a user's mistakes in a few lines."""

import difflib
import importlib
import importlib.metadata
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from ner_lightning.commands.options.help import HELPS, short_help
from ner_lightning.commands.options.known_names import check_start
from ner_lightning.errors import Interrupted, UserError
from ner_lightning.system.child_process import keep_to_quota
from ner_lightning.system.first_rank import is_first
from ner_lightning.system.terminal import escaping, printable, redraws
from ner_lightning.training.launch import LaunchError, isolated, require_single_process
from ner_lightning.training.ranks import GRACE, exit_code, explain_lost, prefix

# Subcommand, the module of this folder whose `run(subcommand, arguments)` does it, and its help.
COMMANDS = {
    "fit": ("fit", "train a tagger: --config FILE"),
    "validate": ("fit", "score a trained tagger on the validation set"),
    "test": ("fit", "score a trained tagger on the test set"),
    "predict": ("predict", "tag a file: [RUN] --input FILE --output FILE"),
    "export": ("export", "write a tagger that others can load: [RUN] --output DIR"),
    "serve": ("serve", "serve a tagger over HTTP: [RUN]"),
    "pretrain": ("pretrain", "train the backbone on masked words first: --config FILE"),
    "distill": ("distill", "train a tagger on the probabilities of another: RUN --config FILE"),
    "memory": ("memory_table", "compute how much memory a training needs: --config FILE"),
    "baseline": ("baseline", "prompt the backbone instead: --config FILE --shots N"),
    "ensemble": ("ensemble", "combine several runs into one tagger: RUN RUN ..."),
    "data": ("data", "convert, split, check or audit annotated data: ACTION"),
    "report": ("report", "write a run's report: [RUN ...]"),
    "compare": ("report", "compare runs on the same sentences: RUN RUN"),
    "dashboard": ("dashboard", "lay out a W&B project: ENTITY/PROJECT"),
    "ladder": ("ladder", "run a matrix of recipes and seeds, and make their table: FILE"),
    "configs": ("configs", "list the shipped configs, or copy some: [NAME ...]"),
    "completion": ("completion", "print a shell's completion script: bash, zsh, fish, ..."),
}

ON_RANKS = ("fit", "validate", "test", "pretrain", "distill")  # commands that can run in several processes


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        args: the words after the program's name; those of the process if None.

    Returns:
        the exit code: 0, 1 where another rank failed, 2 after a user's mistake, 130 after Ctrl-C, 143
        after SIGTERM.
    """
    words = list(sys.argv[1:] if args is None else args)
    if not words or words[0] in {"-h", "--help"}:
        sys.stdout.write(_help())
        return 0
    command, rest = words[0], words[1:]
    with escaping(), isolated():
        keep_to_quota()
        if redraws(sys.stderr):
            os.environ.setdefault("TQDM_LEAVE", "")  # false: the bars of libraries go when they are done
        else:
            os.environ.setdefault("TQDM_DISABLE", "1")  # a bar in a log file is a line for each step
        return _exit_code(command, rest)


def _exit_code(command: str, rest: list[str]) -> int:
    """Runs a command; prints what went wrong with it."""
    try:
        if command not in ON_RANKS:
            require_single_process(command)
        _run(command, rest)
        sys.stdout.flush()  # raises BrokenPipeError here, not while Python ends
    except (Interrupted, KeyboardInterrupt) as stop:
        return exit_code(stop)
    except BrokenPipeError:  # as in `ner-lightning test | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would print an error at its end
        return 1
    except Exception as error:
        if isinstance(error, LaunchError) and not is_first():
            time.sleep(GRACE)  # a launcher ends all ranks when one has ended, and the first one explains
            return 2
        explained = _explained(error, command, rest)
        if explained is None:
            _ask_for_report()
            raise
        code, message = explained
        sys.stderr.write(f"ner-lightning: {prefix()}{printable(message, keep=chr(10))}\n")
        return code
    return 0


def _run(command: str, rest: list[str]) -> None:
    if command == "--version":
        sys.stdout.write(f"ner-lightning {importlib.metadata.version('ner-lightning')}\n")
    elif command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        meant = f"did you mean {close[0]}? There" if close else "there"
        raise UserError(f"there is no command {command!r}; {meant} are {', '.join(COMMANDS)}")
    elif command in HELPS and not {"-h", "--help"}.isdisjoint(rest):
        sys.stdout.write(short_help(command))
    else:
        if command in HELPS:  # before lightning is imported
            check_start(command, rest)
        command_module(command).run(command, rest)


def command_module(command: str) -> Any:
    """The module that does a command."""
    return importlib.import_module(f"ner_lightning.commands.{COMMANDS[command][0]}")


def _explained(error: Exception, command: str, rest: Sequence[str]) -> tuple[int, str] | None:
    """The exit code and the message of an error that is not a bug."""
    from ner_lightning.commands.explained_errors.disk_errors import explain_disk_error
    from ner_lightning.commands.explained_errors.memory_errors import explain_memory_error

    explained = error if isinstance(error, UserError) else explain_disk_error(error, command)
    explained = explained or explain_memory_error(error, command, rest)
    if explained is not None:
        return 2, str(explained)
    lost = explain_lost(error)
    return None if lost is None else (1, lost)


def _ask_for_report() -> None:
    """Prints before the traceback that this is a bug."""
    from ner_lightning.runs.provenance import package_versions

    versions = ", ".join(f"{name} {number}" for name, number in package_versions().items())
    sys.stderr.write(f"ner-lightning: this is a bug; please report it with what follows.\n{versions}\n")


def _help() -> str:
    rows = "".join(f"  {name:<12}{what}\n" for name, (_, what) in COMMANDS.items())
    return (
        "usage: ner-lightning COMMAND ...\n\n"
        "Turns an open LLM into a named-entity tagger.\n\n"
        f"{rows}\n"
        "`ner-lightning COMMAND --help` lists a command's options.\n"
    )
