"""`ner-lightning completion`: a script by which a shell completes commands, options, and their values."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from ner_lightning.commands.main import COMMANDS, command_module
from ner_lightning.commands.options.command_line import Parser
from ner_lightning.commands.options.completed_values import complete_values, preambles

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
# What `fit`, `validate` and `test` read before LightningCLI sees the command line, and its metavar.
BEFORE_THE_PARSER = {
    "--config": "CONFIG",
    "--run": "RUN",
    "--ckpt_path": "CHECKPOINT",
    "--backbone": "BACKBONE",
    "--trust_remote_code": None,
    "--print_config": None,
    "--help-all": None,
}
WITH_RECIPE = ("pretrain", "distill", "memory", "baseline")  # commands beside `fit` that read one


def run(subcommand: str, args: Sequence[str]) -> None:
    """Prints the script of a shell."""
    import shtab

    shell = parser(subcommand).parse_args(args).shell
    root = argparse.ArgumentParser("ner-lightning")
    subparsers = root.add_subparsers()
    for command, (_, what) in COMMANDS.items():
        added = subparsers.add_parser(command, help=what, add_help=False)
        own = [added.add_argument("--config", metavar="CONFIG")] if command in WITH_RECIPE else []
        # The actions themselves, since an ArgumentParser refuses jsonargparse's parsers as its `parents`.
        added._actions = [*own, *(action for action in actions(command) if not _is_internal(action))]
        complete_values(added._actions)
    sys.stdout.write(shtab.complete(root, shell=shell, preamble=preambles().get(shell, "")))


def actions(command: str) -> list[argparse.Action]:
    """A command's options and arguments."""
    if COMMANDS[command][0] != "fit":
        return list(command_module(command).parser(command)._actions)
    from ner_lightning.commands.lightning_cli import recipe

    before = argparse.ArgumentParser(add_help=False)
    before.add_argument("positional", nargs="?", metavar="RUN")
    for option, metavar in BEFORE_THE_PARSER.items():
        how: dict[str, Any] = {"metavar": metavar} if metavar else {"action": "store_true"}
        before.add_argument(option, **how)
    return [*before._actions, *recipe.parser()._actions]


def option_names(command: str) -> list[str]:
    """The options of a command, as they are typed."""
    shown = [action for action in actions(command) if not _is_internal(action)]
    names = [name for action in shown for name in action.option_strings]
    return [name for name in names if name.startswith("--") and not name.endswith("+")]


def _is_internal(action: argparse.Action) -> bool:
    """Whether jsonargparse added it for a class's help."""
    return any(name.endswith(".help") for name in action.option_strings)


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        name,
        "Prints a script for the shell, which then completes commands, options and their values.",
        epilog=(
            "bash: `ner-lightning completion bash > ~/.local/share/bash-completion/completions/ner-lightning`"
            "; zsh: `source <(ner-lightning completion zsh)`; "
            "fish: `ner-lightning completion fish > ~/.config/fish/completions/ner-lightning.fish`. "
            "Make the folder first if it is not there; new shells complete then."
        ),
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    return parser
