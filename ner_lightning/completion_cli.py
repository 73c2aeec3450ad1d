"""`ner-lightning completion`: a script that completes commands, options and configs, from a fixed list."""

import argparse
import importlib
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence

from ner_lightning.options import Parser

SHELLS = ("bash", "zsh", "fish")
LIGHTNING = "ner_lightning.lightning_cli"  # commands of this module have LightningCLI's options
STARTS = (
    "--config",
    "--run",
    "--ckpt_path",
    "--trust_remote_code",
    "--seed_everything",
    "--print_config",
    "--help",
    "--help-all",
)

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
    options = {command: option_names(command, COMMANDS) for command in COMMANDS}
    configs = " ".join(f"configs/{name}.yaml" for name in names())
    if shell == "fish":
        whats = {command: what for command, (_, what) in COMMANDS.items()}
        sys.stdout.write("".join(f"{line}\n" for line in _fish(whats, options, configs, " ".join(names()))))
        return
    cases = [f"        {command}) options={' '.join(found)!r} ;;" for command, found in options.items()]
    script = _BASH.format(
        zsh="autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else "",
        commands=" ".join(COMMANDS),
        cases="\n".join(cases),
        configs=configs,
        names=" ".join(names()),
    )
    sys.stdout.write(script)


def _fish(
    commands: Mapping[str, str], options: Mapping[str, Sequence[str]], configs: str, names: str
) -> Iterator[str]:
    """Lines for fish: commands with what they are for, the options of each, and the shipped configs."""
    yield "# Completion of ner-lightning; made by `ner-lightning completion`."
    for command, what in commands.items():
        yield f"complete -c ner-lightning -n __fish_use_subcommand -f -a {command} -d {shlex.quote(what)}"
    having: dict[str, list[str]] = {}
    for command, found in options.items():
        for option in found:
            having.setdefault(option.removeprefix("--"), []).append(command)
    for option, those in having.items():
        yield f"complete -c ner-lightning -n '__fish_seen_subcommand_from {' '.join(those)}' -l {option}"
    yield f"complete -c ner-lightning -n '__fish_prev_arg_in --config -c' -a '{configs}'"
    yield f"complete -c ner-lightning -n '__fish_seen_subcommand_from configs' -a '{names} all'"


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


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(
        prog=f"ner-lightning {name}",
        description="Prints a script for the shell, which then completes commands, options and configs.",
        epilog=(
            "bash: `ner-lightning completion bash > ~/.local/share/bash-completion/completions/ner-lightning`"
            "; zsh: `source <(ner-lightning completion zsh)`; "
            "fish: `ner-lightning completion fish > ~/.config/fish/completions/ner-lightning.fish`. "
            "Make the folder first if it is not there; new shells complete then."
        ),
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    return parser
