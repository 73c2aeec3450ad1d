"""`ner-lightning configs`: lists the shipped configs, and copies some."""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ner_lightning.commands.options.command_line import Parser
from ner_lightning.errors import UserError
from ner_lightning.runs.shipped import FOLDER, SCHEMA, names
from ner_lightning.system.output_checks import check_new, writing

ALL = "all"
WIDTH = 80  # columns of the listing


def run(subcommand: str, args: Sequence[str]) -> None:
    """Runs the command; raises UserError at a user's mistake."""
    options = parser(subcommand).parse_args(args)
    if not options.names:
        if options.to is not None:
            raise UserError(f"--to {options.to}: name what to copy, or all")
        sys.stdout.write(_listing())
        return
    folder = Path(options.to or "configs")
    wanted = names() if options.names == [ALL] else [name.removeprefix("configs/") for name in options.names]
    wanted = [name.removesuffix(".yaml") for name in wanted]
    unknown = [name for name in wanted if name not in names()]
    if unknown:
        raise UserError(f"there is no shipped config {unknown[0]}; there are {', '.join(names())}")
    copies = [(FOLDER / f"{name}.yaml", folder / f"{name}.yaml") for name in wanted]
    for _, target in copies:
        check_new(target, str(target), remedy="remove it, or copy to another folder: --to DIR")
    with writing(f"--to {folder}"):
        for source, target in copies:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            sys.stdout.write(f"{target}\n")
        if not (schema := folder / SCHEMA.name).exists():
            shutil.copyfile(SCHEMA, schema)  # for editors: the configs' first line names it
    recipe = next((target for _, target in copies if target.parent == folder), None)
    if recipe is not None:
        sys.stdout.write(f"next: edit it, then ner-lightning fit --config {recipe}\n")


def about(name: str) -> str:
    """What a config is for: its first line after the one that names its schema."""
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if "$schema=" not in line).removeprefix("# ").strip()


def _row(file: str, text: str, width: int) -> str:
    """A file and what it is for, in lines of at most `WIDTH` characters."""
    first = f"  {file:<{width}}"
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first)) + "\n"


def _listing() -> str:
    width = max(map(len, names())) + len("configs/.yaml") + 2
    rows = {name: _row(f"configs/{name}.yaml", about(name), width) for name in names()}
    recipes = "".join(row for name, row in rows.items() if "/" not in name)
    overlays = "".join(row for name, row in rows.items() if "/" in name)
    return (
        f"Recipes, complete by themselves:\n{recipes}\n"
        f"Overlays, on top of a recipe:\n{overlays}\n"
        "Any folder finds them by these names, also without `configs/` and `.yaml`:\n"
        "  ner-lightning fit --config quickstart --config with/softmax\n"
        "To change one, copy it first:\n"
        "  ner-lightning configs quickstart\n"
    )


def parser(name: str) -> Parser:
    """Its options."""
    parser = Parser(name, "Lists the shipped configs, or copies the named ones.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="what to copy, such as quickstart or with/softmax; or all"
    )
    parser.add_argument("--to", metavar="DIR", help="where to (default: configs)")
    return parser
