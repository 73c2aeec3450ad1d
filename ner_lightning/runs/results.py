"""Rows of measured figures in a JSON file, and tables in Markdown."""

import fcntl
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ner_lightning.errors import UserError
from ner_lightning.system.atomic import replacing

FIELDS = (
    "config",
    "overrides",
    "data",
    "split",
    "metric",
    "value",
    "seed",
    "command",
    "machine",
    "versions",
    "commit",
)
KEY = ("config", "overrides", "data", "split", "metric", "seed")
Row = dict[str, Any]


def read(file: Path) -> list[Row]:
    """All rows; none if there is no file yet.

    Raises:
        UserError: it does not hold a list of rows.
    """
    if not file.is_file():
        return []
    try:
        rows: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not JSON ({error})") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{file}: not a list of rows")
    return rows


def key(row: Row) -> str:
    """What a row measures: a new row with the same key takes the old one's place."""
    return json.dumps([row[name] for name in KEY], sort_keys=True)


def add(rows: Iterable[Row], file: Path) -> None:
    """Adds rows or replaces those of the same key; the file is rewritten whole.

    Several processes may add at the same time.

    Raises:
        ValueError: a row lacks a field.
    """
    rows = list(rows)
    for row in rows:
        missing = [name for name in FIELDS if name not in row]
        if missing:
            raise ValueError(f"a row lacks {', '.join(missing)}")
    with file.with_name(f".{file.name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        table = {key(row): row for row in [*read(file), *rows]}
        lines = ",\n".join(json.dumps(table[k], ensure_ascii=False) for k in sorted(table))
        with replacing(file) as stream:
            stream.write(f"[\n{lines}\n]\n".encode())


def describe_data(origin: str, fingerprint: str) -> str:
    """A word for a split of a data set: its name without folders, and the start of its fingerprint.

    What follows the digest says that only the first sentences were used, so it is kept.
    """
    digest, bracket, limit = fingerprint.partition("[")
    return f"{Path(origin).name} {digest[:23]}{bracket}{limit}"


def markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body)]
    return "\n".join(lines) + "\n"
