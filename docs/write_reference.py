"""The reference pages, and code in other pages, made from the code itself.

python docs/write_reference.py --write   # renew what is out of date
python docs/write_reference.py --check   # exit 1 if something is
"""

import argparse
import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docstring_parser
from api_page import api_page
from formats_page import formats_page
from lightning.pytorch import Trainer
from measured_options import UNMEASURED, measured_options, value_text
from package_map import PACKAGE, with_tree
from recipe_schema import schema_text
from version_table import with_versions

from ner_lightning.commands.data_actions import data_options
from ner_lightning.commands.lightning_cli.preflight import REFUSED_STRATEGIES, SUPPORTED_PRECISIONS
from ner_lightning.commands.lightning_cli.recipe import TRAINER_DEFAULTS, parser
from ner_lightning.commands.main import COMMANDS, command_module
from ner_lightning.commands.options.help import HELPS
from ner_lightning.runs.results import markdown_table
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.loggers.logged_text import LogText
from ner_lightning.training.module import NERModule

DOCS = Path(__file__).parent
ROOT = DOCS.parent
INCLUDED = re.compile(r"(<!-- file: (\S+) -->\n).*?(<!-- end -->)", flags=re.S)
TRAINER = "https://lightning.ai/docs/pytorch/stable/common/trainer.html#trainer-class-api"
NOTE = "<!-- Made by docs/write_reference.py; change the code that it is made from. -->\n\n"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".sbatch": "bash"}
LINKED = {"model.types", "data.backbone", "data.backbone_revision", "data.trust_remote_code", "data.seed"}
REFUSED = {"enable_checkpointing", "default_root_dir"}  # keys of the trainer that the command sets itself


def config_page() -> str:
    """Every key of a config: type, default, meaning, and its measured gain where there is one."""
    measured = measured_options()
    parts = [
        "# Configuration reference\n\n" + NOTE,
        "A config is a YAML file with the keys below; each is also an option of the command line "
        "(`--model.lora.rank 8`). Several files stack, options come after files, and later values win; "
        "`null` means not set. `ner-lightning fit --config FILE --print_config` prints the result.\n\n"
        "*Measured* is the effect of a value on [the quality ladder](../ladder.md): SmolLM2-135M, 2,000 "
        "sentences of CoNLL-2003, three epochs; entity F1 in points, time and memory relative to the first "
        "rung. Another seed moves F1 by one to three points (sd: the deviation over seeds), so smaller "
        "differences mean nothing.\n\n",
        "## The run\n\n",
        _table(_of_parser()),
        "\n## model\n\n",
        _table(_of_class(NERModule, "model"), measured=measured),
        "\n## data\n\n",
        _table(_of_class(CoNLLDataModule, "data"), measured=measured),
        "\n## trainer\n\n",
        "The arguments of [Lightning's Trainer]"
        f"({TRAINER}). In bold: defaults that differ from Lightning's. Loggers, callbacks and "
        "profilers are given by `class_path` and `init_args`, and write inside the run folder.\n\n",
        f"`precision` may be {_words(sorted({str(p) for p in SUPPORTED_PRECISIONS}))}; strategies named "
        f"{_words(REFUSED_STRATEGIES)} are refused. Set by the command: {_words(sorted(REFUSED))}.\n\n",
        _table(_of_trainer(), meaning=False),
    ]
    return "".join(parts)


def cli_page() -> str:
    """Every command and its options."""
    rows = [[f"[`{name}`](#{name})", _cell(what)] for name, (_, what) in COMMANDS.items()]
    parts = ["# Command line reference\n\n" + NOTE, markdown_table(["command", "what it does"], rows)]
    parts.append(
        "\nExit codes: 0; 1 where another rank failed; 2 after an error that the user can fix, explained "
        "in a few lines; 130 after Ctrl-C, 143 after SIGTERM. Anything else is a bug, and its traceback asks "
        "for a report. `NO_COLOR` turns colours off.\n"
    )
    for name, (module, _) in COMMANDS.items():
        parts.append(f"\n## {name}\n\n")
        if name == "data":
            parts += [
                f"### data {action}\n\n{_argparse(data_options.parser(f'data {action}'))}\n"
                for action in data_options.ACTIONS
            ]
            parts[-1] = parts[-1].removesuffix("\n")
        else:
            own = _lightning(name) if module == "fit" else _argparse(command_module(name).parser(name))
            parts.append(own)
    return "".join(parts)


def included(text: str) -> str:
    """A page with its included files renewed."""

    def block(found: re.Match[str]) -> str:
        file = ROOT / found[2]
        return f"{found[1]}```{LANGUAGES[file.suffix]}\n{file.read_text(encoding='utf-8')}```\n{found[3]}"

    return INCLUDED.sub(block, text)


def pages() -> dict[Path, str]:
    """What each page must hold."""
    map_page = PACKAGE / "README.md"
    found = {page: included(page.read_text(encoding="utf-8")) for page in sorted(DOCS.rglob("*.md"))}
    found[map_page] = with_tree(map_page.read_text(encoding="utf-8"))
    compatibility = DOCS / "compatibility.md"
    found[compatibility] = with_versions(found[compatibility])
    found[DOCS / "formats.md"] = formats_page(NOTE)
    found[DOCS / "reference" / "api.md"] = api_page(NOTE)
    found[DOCS / "reference" / "config.md"] = config_page()
    found[DOCS / "reference" / "cli.md"] = cli_page()
    found[ROOT / "configs" / "recipe.schema.json"] = schema_text()
    return found


Row = tuple[str, str, str, str]


def _of_parser() -> Iterator[Row]:
    yield "seed_everything", "int or bool", "42", "seed of all random numbers; true draws one"
    for action in parser()._actions:
        if action.dest in {"name", "runs", "checkpoint_every_n_steps", "log_text"}:
            kinds = {"checkpoint_every_n_steps": "int", "log_text": ", ".join(typing.get_args(LogText))}
            kind = kinds.get(action.dest, "str")
            kind += " or null" if action.default is None else ""
            yield action.dest, kind, value_text(action.default), str(action.help)


def _of_class(cls: type, prefix: str) -> Iterator[Row]:
    texts = {
        p.arg_name: " ".join((p.description or "").split())
        for p in docstring_parser.parse(cls.__doc__ or "").params
    }
    for name, parameter in inspect.signature(cls).parameters.items():
        key = f"{prefix}.{name}"
        if key in LINKED:
            continue
        if dataclasses.is_dataclass(parameter.annotation):
            yield f"**{key}**", "", "", texts[name]
            yield from _of_class(parameter.annotation, key)
        else:
            yield key, _type(parameter.annotation), value_text(_default(cls, parameter)), texts[name]


def _of_trainer() -> Iterator[Row]:
    for name, parameter in inspect.signature(Trainer.__init__).parameters.items():
        if name == "self" or name in REFUSED:
            continue
        ours = name in TRAINER_DEFAULTS
        default = f"**{value_text(TRAINER_DEFAULTS[name])}**" if ours else value_text(parameter.default)
        yield f"trainer.{name}", _type(parameter.annotation), default, ""


def _default(cls: type, parameter: inspect.Parameter) -> Any:
    """A parameter's default; of a dataclass, that which its factory makes."""
    return getattr(cls(), parameter.name) if dataclasses.is_dataclass(cls) else parameter.default


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        # In an order of its own: Python makes one object of unions with the same members.
        return " or ".join(sorted(dict.fromkeys(_type(part) for part in arguments), key=_null_last))
    if origin is not None:
        inner = ", ".join(_type(part) for part in arguments)
        name = getattr(origin, "__name__", str(origin))
        return f"{'list' if name == 'Iterable' else name.lower()} of {inner}"
    if annotation is type(None):
        return "null"
    name = getattr(annotation, "__name__", None) or str(annotation).rpartition(".")[2]
    return str(name)


def _null_last(name: str) -> tuple[bool, str]:
    return name == "null", name


def _table(rows: Iterator[Row], *, meaning: bool = True, measured: dict[str, str] | None = None) -> str:
    head = ["key", "type", "default"]
    head += ["meaning"] if meaning else []
    head += ["measured"] if measured is not None else []
    body = []
    for key, kind, default, text in rows:
        named = key if key.startswith("**") else f"`{key}`"
        cells = [named, kind, default if default.startswith("**") or not default else f"`{default}`", text]
        if measured is not None:
            cells.append("" if key.startswith("**") else measured.get(key, UNMEASURED))
        body.append([_cell(cell) for cell in cells[: len(head)]])
    return markdown_table(head, body)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _words(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _lightning(command: str) -> str:
    usage, options, examples = HELPS[command]
    rows = [
        [f"`--{option.name}`", "" if option.default is None else f"`{option.default}`", _cell(option.text)]
        for option in options
    ]
    lines = [f"```\n{usage}\n```\n\n", markdown_table(["option", "default", "meaning"], rows)]
    more = f"\nAll others: [the configuration](config.md), and `ner-lightning {command} --help-all`.\n"
    return "".join([*lines, more, "\n```bash\n", *(f"{example}\n" for example in examples), "```\n"])


def _argparse(own: argparse.ArgumentParser) -> str:
    lines = [f"{own.description}\n\n"]
    if own.epilog:
        epilog = f"`{own.epilog}`" if own.epilog.startswith("ner-lightning ") else own.epilog
        lines.append(f"{epilog}\n\n")
    rows = []
    for action in own._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        names = (
            ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar or action.dest}`"
        )
        choices = ", ".join(map(str, action.choices or ()))
        text = (action.help or "").replace("%(choices)s", choices).replace("%%", "%")
        chosen = f" ({choices})" if choices and choices not in text else ""
        rows.append([names, _cell(text) + chosen])
    return "".join([*lines, markdown_table(["option", "meaning"], rows)])


def main() -> int:
    """Renews or checks the pages."""
    command = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    how = command.add_mutually_exclusive_group(required=True)
    how.add_argument("--write", action="store_true")
    how.add_argument("--check", action="store_true")
    options = command.parse_args()
    stale = [
        page
        for page, text in pages().items()
        if not page.is_file() or page.read_text(encoding="utf-8") != text
    ]
    for page in stale:
        if options.write:
            page.write_text(pages()[page], encoding="utf-8")
    if stale and options.check:
        print(f"out of date: {', '.join(str(page.relative_to(ROOT)) for page in stale)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
