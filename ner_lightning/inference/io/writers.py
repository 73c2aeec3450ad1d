"""Writes tagged texts as JSONL, CSV, CoNLL columns, or text with its entities in brackets.

A writer makes the lines of one text at a time. Parquet and DocBin, to which lines cannot be appended, are
converted from JSONL at the end: see `columnar`.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ner_lightning.data.readers.docbin import check_spacy
from ner_lightning.data.readers.record import Record
from ner_lightning.data.writers.output_formats import WIDE
from ner_lightning.errors import UserError
from ner_lightning.inference.io import preannotations
from ner_lightning.inference.io.column_rows import column_rows
from ner_lightning.inference.result import OVERLAPS, Entity, Tagged
from ner_lightning.system.terminal import dim, printable

ORIGIN = ("file", "line", "id")
WIDE_COLUMNS = (*ORIGIN, "text")  # beside those of the types
SEPARATOR = "; "  # between the entities of a type, in a cell of the wide table
# Shown on a terminal as they are, though Python calls them unprintable: line breaks and tabs, the spaces of
# French and of Chinese and Japanese, and the joiners, without which Persian words and emoji fall apart.
_SHOWN = "\n\t\u00a0\u202f\u3000\u200c\u200d"
_COLORS = (36, 33, 32, 35, 34, 31)  # cyan, yellow, green, magenta, blue, red


_TOOLS = {
    "doccano": (preannotations.doccano, None),
    "prodigy": (preannotations.prodigy, None),
    "labelstudio": (preannotations.label_studio, preannotations.as_list),
}


@dataclass(frozen=True)
class Writer:
    """Makes lines from tagged texts.

    Attributes:
        row: makes the lines of a text.
        head: the first line of the file, if any.
        convert: makes the file from the lines, if it is not those themselves.
    """

    row: Callable[[Record, Tagged], str]
    head: str = ""
    convert: Callable[[Path, Path], None] | None = None


def writer(
    format: str,
    types: Sequence[str],
    *,
    wide: bool = False,
    color: bool = False,
    keeps: bool = False,
    terminal: bool = True,
    tabs: bool = False,
) -> Writer:
    """The writer of a format.

    Args:
        format: one of `output_formats.PREDICTED`.
        types: entity types, in order.
        wide: CSV or Parquet with a row per text and a column per type.
        color: colour the entities, in text for a terminal.
        keeps: whether texts may have entities that overlap more probable ones; then each entity says whether
            it does. Text names such entities in lines of their own.
        terminal: whether text is printed, where control characters are escaped; a file gets texts as they
            are.
        tabs: separate CoNLL columns by tabs, whatever the types.

    Raises:
        UserError: spaCy is not installed, or an entity type is named like another column of a wide table.
    """
    if wide and format in WIDE:
        return _wide_writer(format, types)
    if format == "conll":
        return Writer(column_rows(types, tabs=tabs))
    if format == "text":
        colors = colors_of(types) if color else {}
        return Writer(lambda record, tagged: lines_of(tagged, colors, terminal=terminal))
    if format == "csv":
        return Writer(entity_lines, _csv([*ORIGIN, *Entity._fields, *([OVERLAPS] if keeps else [])]))
    if format == "jsonl":
        return Writer(lambda record, tagged: _json(as_dict(record, tagged)))
    if format in _TOOLS:
        row, convert = _TOOLS[format]
        return Writer(lambda record, tagged: _json(row(record, tagged)), convert=convert)
    from ner_lightning.inference.io import columnar

    if format == "spacy":
        check_spacy()
        return Writer(lambda record, tagged: _json(columnar.with_words(tagged)), convert=columnar.doc_bin)
    return Writer(
        lambda record, tagged: _json(as_dict(record, tagged)),
        convert=lambda lines, file: columnar.parquet(lines, file, columnar.schema(keeps=keeps)),
    )


def _wide_writer(format: str, types: Sequence[str]) -> Writer:
    taken = [name for name in types if name in WIDE_COLUMNS]
    if taken:
        raise UserError(
            f"--wide: the entity type {taken[0]} is named like one of the columns {', '.join(WIDE_COLUMNS)}; "
            "leave out --wide,\nand the table has a row for each entity (CSV) or a list of them (Parquet)"
        )
    if format == "csv":
        head = _csv([*WIDE_COLUMNS, *types])
        return Writer(lambda record, tagged: _csv(wide_cells(record, tagged, types)), head)
    from ner_lightning.inference.io import columnar

    return Writer(
        lambda record, tagged: _json(wide_dict(record, tagged, types)),
        convert=lambda lines, file: columnar.parquet(lines, file, columnar.wide_schema(types)),
    )


def as_dict(record: Record, tagged: Tagged) -> dict[str, Any]:
    """A tagged text as plain values; if the record has words, also those and their predicted tags."""
    row: dict[str, Any] = {"file": record.source, "line": record.line}
    if record.id is not None:
        row["id"] = record.id
    if record.document is not None:
        row["document"] = record.document
    row["text"] = tagged.text
    if not record.is_text:
        row |= {"words": tagged.words, "predicted": tagged.tags}
    row["entities"] = tagged.entity_dicts()
    return row


def entity_lines(record: Record, tagged: Tagged) -> str:
    """A line of CSV for each entity."""
    origin = [record.source, record.line, record.id]
    rows = tagged.entity_dicts()
    for row in rows:
        row["score"] = f"{row['score']:.6f}"
        row |= {OVERLAPS: "true" if row[OVERLAPS] else "false"} if OVERLAPS in row else {}
    return "".join(_csv([*origin, *row.values()]) for row in rows)


def wide_cells(record: Record, tagged: Tagged, types: Sequence[str]) -> list[Any]:
    """The row of a text in a table with a column for each type."""
    cells = (SEPARATOR.join(texts) for texts in by_type(tagged, types).values())
    return [record.source, record.line, record.id, tagged.text, *cells]


def wide_dict(record: Record, tagged: Tagged, types: Sequence[str]) -> dict[str, Any]:
    """The same row with lists of entities, for Parquet."""
    origin = {"file": record.source, "line": record.line, "id": record.id, "text": tagged.text}
    return origin | by_type(tagged, types)


def by_type(tagged: Tagged, types: Sequence[str]) -> dict[str, list[str]]:
    """The texts of the entities of each type, in order of appearance, with repetitions."""
    texts: dict[str, list[str]] = {name: [] for name in types}
    for entity in tagged.entities:
        texts[entity.label].append(entity.text)
    return texts


def colors_of(types: Sequence[str]) -> dict[str, int]:
    """The ANSI colour of each type."""
    return {name: _COLORS[index % len(_COLORS)] for index, name in enumerate(types)}


def lines_of(tagged: Tagged, colors: dict[str, int], *, terminal: bool = True) -> str:
    """A text with its entities in brackets, and a line for each that overlaps one of them."""
    return marked(tagged, colors, terminal=terminal) + "\n" + beside(tagged, terminal=terminal)


def marked(tagged: Tagged, colors: dict[str, int], *, terminal: bool = True) -> str:
    """A text with its entities in brackets, as in `[PER Vera Lindqvist] left`.

    Args:
        tagged: the text.
        colors: the ANSI colour of each type, in which an entity also has its score; other types have neither.
        terminal: whether control characters are escaped.
    """
    shown = _shown if terminal else str
    parts = []
    done = 0
    for entity in tagged.entities:
        inside = f"{_in_line(entity.label, terminal)} {shown(entity.text)}"
        color = colors.get(entity.label)
        parts += [
            shown(tagged.text[done : entity.start]),
            f"[{inside}]"
            if color is None
            else f"\x1b[{color}m[{inside} {dim(f'{entity.score:.3f}')}]\x1b[0m",
        ]
        done = entity.end
    return "".join([*parts, shown(tagged.text[done:])])


def beside(tagged: Tagged, *, terminal: bool = True) -> str:
    """A line for each entity that overlaps a more probable one, as in `    [LOC Holt] 0.1204`."""
    return "".join(
        f"    [{_in_line(entity.label, terminal)} {_in_line(entity.text, terminal)}] {entity.score:.4f}\n"
        for entity in tagged.overlapping or ()
    )


def _in_line(text: str, terminal: bool) -> str:
    """A text in one line, whatever else is escaped."""
    shown = _shown(text) if terminal else text
    return shown.replace("\n", r"\x0a").replace("\r", r"\x0d")


def _shown(text: str) -> str:
    return printable(text, keep=_SHOWN)


def _json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _csv(cells: Sequence[Any]) -> str:
    # Python's csv does not quote a carriage return that is no line end of its own; readers end the row there.
    returns = any(isinstance(cell, str) and "\r" in cell for cell in cells)
    line = io.StringIO()
    quoted = csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_ALL)
    rows = quoted if returns else csv.writer(line, lineterminator="\n")
    rows.writerow(cells)
    return line.getvalue()
