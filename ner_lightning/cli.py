"""The `ner-lightning` command: picks the subcommand, and turns a user's mistakes into a few lines."""

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from ner_lightning.errors import UserError

# Subcommand, the module whose `run(subcommand, arguments)` does it, what it is for.
COMMANDS = {
    "fit": ("ner_lightning.lightning_cli", "train a tagger: --config FILE"),
    "validate": ("ner_lightning.lightning_cli", "score a trained tagger on the validation set"),
    "test": ("ner_lightning.lightning_cli", "score a trained tagger on the test set"),
    "predict": ("ner_lightning.predict_cli", "tag a file: [RUN] --input FILE --output FILE"),
    "report": ("ner_lightning.report_cli", "write a run's report: [RUN ...]"),
    "compare": ("ner_lightning.report_cli", "compare runs on the same sentences: RUN RUN"),
}


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        args: its words, without the program's name; those of the process if None.

    Returns:
        the exit code: 0, 2 after a user's mistake, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if args is None else args)
    if not words or words[0] in {"-h", "--help"}:
        sys.stdout.write(_help())
        return 0
    command, rest = words[0], words[1:]
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # a bar in a log file is a line for each step
    try:
        if command == "--version":
            sys.stdout.write(f"ner-lightning {importlib.metadata.version('ner-lightning')}\n")
            return 0
        if command not in COMMANDS:
            raise UserError(f"there is no command {command!r}; there are {', '.join(COMMANDS)}")
        importlib.import_module(COMMANDS[command][0]).run(command, rest)
    except UserError as error:
        sys.stderr.write(f"ner-lightning: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # as in `ner-lightning test | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would complain of it at its end
        return 1
    except Exception as error:
        from ner_lightning.disk_errors import explain_disk_error

        explained = explain_disk_error(error)
        if explained is None:
            _ask_for_report()
            raise
        sys.stderr.write(f"ner-lightning: {explained}\n")
        return 2
    return 0


def _ask_for_report() -> None:
    """Says before the traceback that it is no fault of the user's."""
    from ner_lightning.runs import package_versions

    versions = ", ".join(f"{name} {number}" for name, number in package_versions().items())
    sys.stderr.write(f"ner-lightning: this is a bug; please report it with what follows.\n{versions}\n")


def _help() -> str:
    rows = "".join(f"  {name:<10}{what}\n" for name, (_, what) in COMMANDS.items())
    return (
        "usage: ner-lightning COMMAND ...\n\n"
        "Turns an open LLM into a named-entity tagger.\n\n"
        f"{rows}\n"
        "`ner-lightning COMMAND --help` lists a command's options.\n"
    )
