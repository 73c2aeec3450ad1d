"""Rows that a command stores for a later one, a JSON object per line; a damaged line says where it is."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ner_lightning.errors import UserError


def stored_rows(file: Path, fields: Collection[str], remedy: str) -> Iterator[dict[str, Any]]:
    """Reads the rows of a file that a command wrote.

    Args:
        file: its path.
        fields: what each row has.
        remedy: what to do about a damaged line.

    Raises:
        UserError: a line is no such row.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or not row.keys() >= set(fields):
                raise UserError(f"{file}:{number}: the line is damaged; {remedy}")
            yield row
