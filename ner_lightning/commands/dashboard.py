"""`ner-lightning dashboard`: lays out a W&B project as a workspace, and writes a report of seeds into it."""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ner_lightning.commands.options.command_line import Parser
from ner_lightning.errors import UserError
from ner_lightning.system.output_checks import check_new, writing

MARK = b'{\n  "workspace": {'  # of a file of ours


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options = parser(subcommand).parse_args(args)
    if options.json not in (None, "-"):
        check_new(Path(options.json), f"--json {options.json}", marks=(MARK,))
    made = _made(options)
    if options.json is not None:
        _write(made, options.json)
        return
    for one in made.values():
        sys.stdout.write(f"{_sent(one)}\n")


def _made(options: argparse.Namespace) -> dict[str, Any]:
    """The workspace and, if asked, the report."""
    names = re.fullmatch(r"([\w.-]+)/([\w. -]+)", options.project)
    if names is None:
        raise UserError(f"{options.project!r} is not ENTITY/PROJECT, such as my-team/ner-lightning")
    from ner_lightning.analysis.experiment import find_experiment

    runs = [find_experiment(address, Path(options.runs)) for address in options.report or ()]
    try:
        from ner_lightning.training.loggers.wandb_workspace import report, workspace
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'ner-lightning[dashboard]'") from None
    entity, project = names.groups()
    made = {"workspace": workspace(entity, project)}
    return made | ({"report": report(entity, project, runs)} if runs else {})


def _write(made: dict[str, Any], file: str) -> None:
    from ner_lightning.system.atomic import write_text
    from ner_lightning.system.terminal import print_utf8
    from ner_lightning.training.loggers.wandb_workspace import specification

    content = {name: specification(one) for name, one in made.items()}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if file == "-":
        print_utf8()
        sys.stdout.write(text)
        return
    with writing(f"--json {file}"):
        write_text(Path(file), text)
    sys.stdout.write(f"{file}\n")


def _sent(one: Any) -> str:
    """Sends a workspace or report to W&B, and returns its address."""
    from wandb.errors import Error

    from ner_lightning.training.loggers.wandb import lacks_key

    mode = os.environ.get("WANDB_MODE", "online")
    if mode not in ("online", "run"):
        raise UserError(f"WANDB_MODE is {mode}, so nothing is sent; look at it with --json -")
    try:
        lacks = lacks_key()
    except Error as error:
        raise UserError(f"W&B does not take the key ({' '.join(str(error).split()):.200})") from error
    if lacks:
        raise UserError("W&B has no key: `wandb login`, or look at what would be sent with --json -")
    try:
        one.save()
    except Exception as error:  # the package raises plain exceptions of many kinds
        reason = " ".join(str(error).split())
        raise UserError(f"W&B refused or could not be reached ({reason:.200})") from error
    return str(one.url)


def parser(name: str = "dashboard") -> Parser:
    """The command's options."""
    parser = Parser(
        name,
        "Lays out a W&B project as a workspace: quality, types, errors, optimisation and speed, runs grouped "
        "by recipe.",
    )
    parser.add_argument("project", metavar="ENTITY/PROJECT", help="the W&B project")
    parser.add_argument(
        "--report",
        nargs="+",
        metavar="RUN",
        help="also write a W&B report with the mean and deviation of these runs over seeds",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write what would be sent, and send nothing; - prints it"
    )
    parser.add_runs()
    return parser
