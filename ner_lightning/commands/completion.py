"""`ner-lightning completion`: a script by which a shell completes commands, options and file names."""

import argparse
import sys
from collections.abc import Sequence

from ner_lightning.commands.main import COMMANDS, command_module
from ner_lightning.commands.options import Parser

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
# What `fit`, `validate` and `test` read before LightningCLI sees the command line.
BEFORE_THE_PARSER = (
    "--config",
    "--run",
    "--ckpt_path",
    "--backbone",
    "--trust_remote_code",
    "--print_config",
)


def run(subcommand: str, args: Sequence[str]) -> None:
    """Prints the script of a shell."""
    import shtab

    shell = parser(subcommand).parse_args(args).shell
    root = argparse.ArgumentParser("ner-lightning")
    subparsers = root.add_subparsers()
    for command, (_, what) in COMMANDS.items():
        added = subparsers.add_parser(command, help=what, add_help=False)
        # The actions themselves, since an ArgumentParser refuses jsonargparse's parsers as its `parents`.
        added._actions = [action for action in actions(command) if not _is_internal(action)]
    sys.stdout.write(shtab.complete(root, shell=shell))


def actions(command: str) -> list[argparse.Action]:
    """A command's options and arguments."""
    if COMMANDS[command][0] != "fit":
        return list(command_module(command).parser(command)._actions)
    from ner_lightning.commands import recipe

    before = argparse.ArgumentParser(add_help=False)
    for option in BEFORE_THE_PARSER:
        before.add_argument(option)
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
        "Prints a script for the shell, which then completes commands, options and file names.",
        epilog=(
            "bash: `ner-lightning completion bash > ~/.local/share/bash-completion/completions/ner-lightning`"
            "; zsh: `source <(ner-lightning completion zsh)`; "
            "fish: `ner-lightning completion fish > ~/.config/fish/completions/ner-lightning.fish`. "
            "Make the folder first if it is not there; new shells complete then."
        ),
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    return parser
