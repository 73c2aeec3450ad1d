"""`ner-lightning completion`: a script that completes commands, options and configs, from a fixed list."""

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

SHELLS = ("bash", "zsh")
LIGHTNING = "ner_lightning.lightning_cli"  # commands of this module have LightningCLI's options
STARTS = ("--config", "--run", "--ckpt_path", "--seed_everything", "--print_config", "--help", "--help-all")

_BASH = """\
# Completion of ner-lightning; made by `ner-lightning completion`.
{zsh}_ner_lightning() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} options=
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$cur"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    case $cur in
        -*) COMPREPLY=($(compgen -W "$options" -- "$cur")) ;;
        *)
            COMPREPLY=($(compgen -f -- "$cur"))
            if [ "$prev" = --config ] || [ "$prev" = -c ]; then
                COMPREPLY+=($(compgen -W "{configs}" -- "$cur"))
            elif [ "${{COMP_WORDS[1]}}" = configs ]; then
                COMPREPLY=($(compgen -W "{names} all" -- "$cur"))
            fi ;;
    esac
}}
complete -o filenames -F _ner_lightning ner-lightning
"""


def run(subcommand: str, args: Sequence[str]) -> None:
    """Prints the script of a shell."""
    from ner_lightning.cli import COMMANDS
    from ner_lightning.configs_cli import names

    shell = parser(subcommand).parse_args(args).shell
    cases = [
        f"        {command}) options={' '.join(option_names(command, COMMANDS))!r} ;;" for command in COMMANDS
    ]
    script = _BASH.format(
        zsh="autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else "",
        commands=" ".join(COMMANDS),
        cases="\n".join(cases),
        configs=" ".join(f"configs/{name}.yaml" for name in names()),
        names=" ".join(names()),
    )
    sys.stdout.write(script)


def option_names(command: str, commands: Mapping[str, tuple[str, str]]) -> list[str]:
    """The options of a command, as they are typed."""
    module = commands[command][0]
    if module == LIGHTNING:
        from ner_lightning.recipe import parser

        own: argparse.ArgumentParser = parser()
    else:
        own = importlib.import_module(module).parser(command)
    found = [name for action in own._actions for name in action.option_strings if name.startswith("--")]
    if module == LIGHTNING:
        found = [*STARTS, *(name for name in found if name not in STARTS)]
    return [name for name in found if not name.endswith(("+", ".help"))]


def parser(name: str) -> argparse.ArgumentParser:
    """Its options."""
    parser = argparse.ArgumentParser(
        prog=f"ner-lightning {name}",
        description="Prints a script for the shell, which then completes commands, options and configs.",
        epilog="ner-lightning completion bash > ~/.local/share/bash-completion/completions/ner-lightning",
    )
    parser.add_argument("shell", choices=SHELLS)
    return parser
