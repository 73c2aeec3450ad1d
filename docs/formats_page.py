"""docs/formats.md: every format that is read, with the examples that the readers are tested with."""

import re
import runpy
from pathlib import Path
from typing import Any

from ner_lightning.data.readers.formats import FORMATS
from ner_lightning.data.writers.output_formats import ANNOTATED, BY_SUFFIX
from ner_lightning.runs.results import markdown_table

EXAMPLES = Path(__file__).parent.parent / "tests" / "data" / "readers" / "examples.py"
_LANGUAGES = {".jsonl": "json", ".json": "json", ".csv": "csv"}
_INTRO = """\
Every command reads the same formats: `fit`, `test`, `predict`, `pretrain`, `baseline` and `data`. A file's
format is recognised by its content first and its name second; `data.files.format` (`--from` of `predict` and
`data`) names it instead. A line says how the file is read. Files are UTF-8, or UTF-16
with its byte order mark, and may be packed by gzip. Of a folder, `README`, `LICENSE` and the like are not
read, nor texts without annotation beside those that brat has annotated; a line says which.

"""
_AFTER = """
Offsets of entities count characters from 0; the end is exclusive. Entities may state their own text: in
the fields `text`, `value`, `word`, `surface`, `mention`, `name` or `entity`, as a fourth item of a list,
or where the format has it. Offsets that count UTF-16 code units, bytes of UTF-8 or a line break of two
characters as one are converted where these texts prove it, and so are ends that include the last
character; a line says so. Other offsets that contradict the texts are refused.

The same two sentences in each format follow. A test reads each example and expects *Brinda Okafor* as PER,
*Tarvo* as LOC, and a sentence without entities. What the options mean is in
[your own data](tutorials/own-data.md) and in the [reference](reference/config.md).

"""


def formats_page(note: str) -> str:
    """The page.

    Args:
        note: the line that says that it is made.
    """
    examples = list(runpy.run_path(str(EXAMPLES))["EXAMPLES"].values())
    rows = [
        [
            f"`{name}`",
            format.what,
            ", ".join(f"`{suffix}`" for suffix in format.suffixes),
            ", ".join(f"`{option}`" for option in format.named),
        ]
        for name, format in FORMATS.items()
    ]
    contents = [
        [f"[{example.title}](#{_slug(example.title)})", example.source, f"`{example.format}`", _set(example)]
        for example in examples
    ]
    return "".join(
        [
            "# Formats\n\n",
            note,
            _INTRO,
            markdown_table(["format", "what it is", "names that suggest it", "options"], rows),
            f"\n`ner-lightning data convert` writes {_listed(ANNOTATED)}; `predict` writes these\n"
            "and `text`, with entities in brackets. A suffix means the same for inputs and outputs:\n"
            f"{_listed(BY_SUFFIX)}.\n"
            "Other outputs need `--to`, also `.txt`, which may mean columns or text.\n",
            _AFTER,
            markdown_table(["example", "written by", "format", "options under `data.files`"], contents),
            *map(_section, examples),
        ]
    )


def _section(example: Any) -> str:
    parts = [f"\n## {example.title}\n\n"]
    parts += [f"{_set(example, 'Needs ')}.\n\n"] if example.options else []
    parts += [f"{example.note}\n\n"] if example.note else []
    if example.code:
        parts.append(f"```python\n{example.code}```\n")
        return "".join(parts)
    for name, text in example.files.items():
        language = _LANGUAGES.get(Path(name).suffix, "")
        parts.append(f"`{name}`:\n\n```{language}\n{text.rstrip()}\n```\n\n")
    return "".join(parts).rstrip("\n") + "\n"


def _set(example: Any, before: str = "") -> str:
    options = ", ".join(f"`--data.files.{name} {value}`" for name, value in example.options.items())
    return before + options


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
