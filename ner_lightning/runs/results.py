"""Rows of measured figures in a JSON file, and tables in Markdown."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ner_lightning.errors import UserError
from ner_lightning.runs.fingerprints import shortened
from ner_lightning.system.atomic import replacing
from ner_lightning.system.locks import in_turn

KEY = ("config", "overrides", "data", "split", "metric", "seed")
FIELDS = (*KEY, "value", "command", "machine", "versions", "commit")
SHARED = ("config", "overrides", "seed", "command", "machine", "versions", "commit")  # by a run's rows
OF_LADDER = ("rung", "minutes", "peak_memory_bytes")  # what the row of a ladder's cell has beside these
ROWS = "rows"
Row = dict[str, Any]


def read_rows(file: Path) -> list[Row]:
    """All rows; none if there is no file yet.

    An item of the file is a row, or what several have in common, with these as its `rows`: so `add_rows`
    writes them.

    Raises:
        UserError: it does not hold a list of rows with all their fields.
    """
    if not file.is_file():
        return []
    try:
        rows: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not JSON ({error}); restore the file, or remove it") from None
    if not _are_objects(rows) or not all(_are_objects(row.get(ROWS, [])) for row in rows):
        raise UserError(f"{file}: not a list of rows; restore the file, or remove it")
    flat = [
        {k: v for k, v in item.items() if k != ROWS} | row for item in rows for row in item.get(ROWS, [{}])
    ]
    for number, row in enumerate(flat, start=1):
        if missing := _missing(row):
            raise UserError(
                f"{file}: not a list of measured rows: row {number} lacks {', '.join(missing)};\n"
                "restore the file, or remove it"
            )
    return sorted(flat, key=row_key) if any(ROWS in row for row in rows) else flat


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _missing(row: Row) -> list[str]:
    """The fields that a row should have, and has not."""
    return [name for name in (*FIELDS, *(OF_LADDER if "ladder" in row else ())) if name not in row]


def row_key(row: Row) -> str:
    """What a row measures; a new row replaces the old one with the same key.

    Rungs of a ladder may have configs of the same name in different folders. A speed, which has rounds, is
    that of a machine.
    """
    more = ("ladder", "rung", *(("machine",) if "rounds" in row else ()))
    cell = [row[name] for name in more if name in row]
    return json.dumps([*(row[name] for name in KEY), *cell], sort_keys=True)


def add_rows(rows: Iterable[Row], file: Path, replaced: Callable[[Row], bool] = lambda row: False) -> None:
    """Adds rows or replaces those with the same key; the file is rewritten whole.

    Several processes may add at the same time.

    Args:
        rows: the rows.
        file: the file.
        replaced: which other rows they take the place of.

    Raises:
        ValueError: a row lacks a field.
    """
    rows = list(rows)
    for row in rows:
        if missing := _missing(row):
            raise ValueError(f"a row lacks {', '.join(missing)}")
    with in_turn(file):
        kept = [row for row in read_rows(file) if not replaced(row)]
        table = {row_key(row): row for row in [*kept, *rows]}
        with replacing(file) as stream:
            stream.write(_text(table[k] for k in sorted(table)).encode())


def _text(rows: Iterable[Row]) -> str:
    """Rows as JSON, a line each; what those of a run have in common is written once."""
    runs: dict[str, list[str]] = {}
    for row in rows:
        shared = _compact({name: row[name] for name in SHARED})
        own = {name: value for name, value in row.items() if name not in SHARED}
        runs.setdefault(shared, []).append(_compact(own))
    items = (f'{shared[:-1]},"{ROWS}":[\n' + ",\n".join(own) + "\n]}" for shared, own in runs.items())
    return "[\n" + ",\n".join(items) + "\n]\n"


def _compact(value: Row) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def describe_data(origin: str, fingerprint: str) -> str:
    """A split of a data set: its file name without folders, and its fingerprint with 16 digits."""
    return f"{Path(origin).name} {shortened(fingerprint, 16)}"


def markdown_table(head: Sequence[str], body: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """A table in Markdown.

    Args:
        head: names of the columns.
        body: cells of each row.
        numbers: whether all columns but the first are aligned to the right.
    """
    rule = ["---"] + ["---:" if numbers else "---"] * (len(head) - 1)
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (head, rule, *body))
