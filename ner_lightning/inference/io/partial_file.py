"""The file that collects an output until its end, and what is known of it: none of its lines is lost."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ner_lightning.errors import UserError


def read_state(file: Path, totals: Collection[str]) -> dict[str, Any] | None:
    """The state that an earlier command wrote; None if there is none, or it is some other file.

    Args:
        file: it is written after each block.
        totals: the names of the counts in it.
    """
    try:
        state: Any = json.loads(file.read_text(encoding="utf-8"))
        known = {"request", "totals", "sizes"} == state.keys() and set(state["totals"]) == set(totals)
        known = known and all(isinstance(each, dict) for each in state.values())
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return dict(state) if known else None


def check_sizes(files: Collection[Path], sizes: Mapping[str, int]) -> None:
    """Checks that files still have everything that the state knows of.

    Raises:
        UserError: one is missing or shorter, so that its lines are lost.
    """
    for file in files:
        size = file.stat().st_size if file.exists() else -1
        if size < sizes.get(file.name, -1):
            raise UserError(
                f"{file} is missing, or has lost lines since the command stopped;\n"
                "put it back to resume, or give --restart to start again"
            )


def append(path: Path, text: str) -> int:
    """Appends to a file and flushes it to the disk; returns its size in bytes."""
    with path.open("ab") as file:
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
        return file.tell()
