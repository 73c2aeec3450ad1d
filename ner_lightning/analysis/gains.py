"""Measured gains: rows of a results file that differ only by a config overlay that turns something off."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ner_lightning.errors import UserError
from ner_lightning.runs.results import read_rows


class Gain(NamedTuple):
    """F1 measured with a mitigation and without it, all else equal.

    Attributes:
        recipe: config files and options of the row with it.
        split: the split that was scored.
        seed: of both rows.
        without: F1 without it.
        with_: F1 with it.
    """

    recipe: str
    split: str
    seed: Any
    without: float
    with_: float


def read_results(file: Path) -> list[dict[str, Any]]:
    """Reads measured rows in the format of `docs/results.json`.

    Raises:
        UserError: the file is missing or has another format.
    """
    if not file.is_file():
        raise UserError(f"--ladder {file}: there is no such file")
    try:
        return read_rows(file)
    except UserError as error:
        raise UserError(f"--ladder {error}") from None


def gains(rows: Iterable[Mapping[str, Any]], control: str) -> list[Gain]:
    """Gains of a mitigation, from pairs of F1 rows that differ only by the overlay that turns it off."""
    by_key = {_key(row, row["config"].split()): row for row in rows if row["metric"] == "f1"}
    pairs = []
    for row in by_key.values():
        configs = row["config"].split()
        if control in configs:
            other = by_key.get(_key(row, [name for name in configs if name != control]))
            if other is not None:
                recipe = " ".join([other["config"], *other["overrides"]])
                pairs.append(Gain(recipe, row["split"], row["seed"], row["value"], other["value"]))
    return pairs


def _key(row: Mapping[str, Any], configs: Collection[str]) -> str:
    parts: Sequence[Any] = (list(configs), row["overrides"], row["data"], row["split"], row["seed"])
    return json.dumps(parts)
