"""Renders what a command printed as an SVG picture: python benchmarks/render_terminal.py LOG SVG TITLE."""

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 118


def main(log: str, svg: str, title: str) -> None:
    """Reads the output of a command and writes the picture."""
    console = Console(record=True, width=WIDTH, file=Path("/dev/null").open("w"))  # noqa: SIM115
    for line in Path(log).read_text(encoding="utf-8").split("\n"):
        text = Text()
        for number, part in enumerate(re.split(r"\*(\S+)\*", line)):
            text.append(part, "bold yellow" if number % 2 else None)
        text.highlight_regex(r"\[(?:PER|ORG|LOC|MISC) [^\]]*\]", "bold green")
        if line.startswith(("$", "    --")):
            text.stylize("bold cyan")
        console.print(text, soft_wrap=False)
    picture = console.export_svg(title=title)
    picture = picture.replace("Fira Code, monospace", "DejaVu Sans Mono, Menlo, Consolas, monospace")
    # The font is the reader's own: a page that shows the picture fetches nothing.
    picture = re.sub(r"@font-face \{.*?\}\n", "", picture, flags=re.S)
    Path(svg).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
