"""What was found, as JSONL, CSV, CoNLL columns, or text with its entities marked.

A writer gives the lines of one text at a time, so that files grow as texts come. Parquet and DocBin,
which cannot grow, are made of JSONL at the end: see `columnar`.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ner_lightning.data.readers.column_layout import DOCSTART
from ner_lightning.data.readers.columns import UNWRITABLE
from ner_lightning.data.schemes import OUTSIDE
from ner_lightning.inference.io.records import Record
from ner_lightning.inference.result import Entity, Tagged
from ner_lightning.system.terminal import printable

PLACE = ("file", "line", "id")
BETWEEN = "; "  # entities of a type, in a cell of the wide table
_COLORS = (36, 33, 32, 35, 34, 31)  # cyan, yellow, green, magenta, blue, red


@dataclass(frozen=True)
class Writer:
    """How tagged texts are written.

    Attributes:
        row: the lines of a text.
        head: the line above all others.
        finish: makes the file itself of the lines, where it is more than these.
    """

    row: Callable[[Record, Tagged], str]
    head: str = ""
    finish: Callable[[Path, Path], None] | None = None


def writer(format: str, types: Sequence[str], *, wide: bool = False, color: bool = False) -> Writer:
    """The writer of a format.

    Args:
        format: one of `formats.OUTPUTS`.
        types: entity types, in order.
        wide: CSV or Parquet with a row a text and a column a type.
        color: with colours, in the text for a terminal.
    """
    if format == "conll":
        return Writer(conll_rows)
    if format == "text":
        colors = {kind: _COLORS[place % len(_COLORS)] for place, kind in enumerate(types)}
        return Writer(lambda record, tagged: marked(tagged, colors if color else {}) + "\n")
    if format == "csv":
        if wide:
            columns = [*PLACE, "text", *types]
            return Writer(lambda record, tagged: _csv(wide_cells(record, tagged, types)), _csv(columns))
        return Writer(entity_lines, _csv([*PLACE, *Entity._fields]))
    if format == "jsonl":
        return Writer(lambda record, tagged: _json(as_dict(record, tagged)))
    from ner_lightning.inference.io import columnar

    if format == "spacy":
        columnar.check_spacy()
        return Writer(lambda record, tagged: _json(columnar.with_words(tagged)), finish=columnar.doc_bin)
    if wide:
        return Writer(
            lambda record, tagged: _json(columnar.wide_dict(record, tagged, types)),
            finish=lambda lines, file: columnar.parquet(lines, file, columnar.wide_schema(types)),
        )
    return Writer(
        lambda record, tagged: _json(as_dict(record, tagged)),
        finish=lambda lines, file: columnar.parquet(lines, file, columnar.SCHEMA),
    )


def as_dict(record: Record, tagged: Tagged) -> dict[str, Any]:
    """A tagged text as plain values; with its words and their tags where words were given."""
    row: dict[str, Any] = {"file": record.source, "line": record.line}
    if record.id is not None:
        row["id"] = record.id
    row["text"] = tagged.text
    if not isinstance(record.content, str):
        row |= {"words": tagged.words, "predicted": tagged.tags}
    row["entities"] = [entity._asdict() | {"score": round(entity.score, 6)} for entity in tagged.entities]
    return row


def entity_lines(record: Record, tagged: Tagged) -> str:
    """A line of CSV for each entity."""
    place = [record.source, record.line, record.id]
    rows = ([*place, *entity[:-1], f"{entity.score:.6f}"] for entity in tagged.entities)
    return "".join(map(_csv, rows))


def wide_cells(record: Record, tagged: Tagged, types: Sequence[str]) -> list[Any]:
    """The row of a text in a table with a column for each type."""
    return [
        record.source,
        record.line,
        record.id,
        tagged.text,
        *(BETWEEN.join(by_type(tagged, kind)) for kind in types),
    ]


def by_type(tagged: Tagged, kind: str) -> list[str]:
    """The entities of a type, in order of appearance, each as often as it is named."""
    return [entity.text for entity in tagged.entities if entity.label == kind]


def conll_rows(record: Record, tagged: Tagged) -> str:
    """Words and predicted tags, with a blank line after each sentence.

    What columns cannot hold becomes `_`, as in `data.conll.write_conll`. Tags are of whole documents, so
    those that were cut into sentences are counted off.
    """
    lines = [f"{DOCSTART} {OUTSIDE}", ""] if record.opens else []
    tags = iter(tagged.tags)
    for sentence in tagged.document.words:
        lines += [f"{UNWRITABLE.sub('_', word)} {next(tags)}" for word in sentence]
        lines.append("")
    return "".join(line + "\n" for line in lines)


def marked(tagged: Tagged, colors: dict[str, int]) -> str:
    """A text with its entities in brackets: as in `[PER Vera Lindqvist] left`.

    Args:
        tagged: the text.
        colors: of each type; none: no colours.
    """
    parts = []
    done = 0
    for entity in tagged.entities:
        inside = f"[{printable(entity.label)} {_shown(entity.text)}]"
        color = colors.get(entity.label)
        parts += [
            _shown(tagged.text[done : entity.start]),
            inside if color is None else f"\x1b[{color}m{inside}\x1b[0m",
        ]
        done = entity.end
    return "".join([*parts, _shown(tagged.text[done:])])


def _shown(text: str) -> str:
    return printable(text, keep="\n\t")


def _json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _csv(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
