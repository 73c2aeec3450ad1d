"""Reads the rows of a run's `metrics.csv`."""

import csv
import io


def read_metrics_table(text: str) -> dict[int, dict[str, float]]:
    """The rows of a `metrics.csv` by step, without empty cells."""
    return {
        int(row["step"]): {name: float(value) for name, value in row.items() if value and name != "step"}
        for row in csv.DictReader(io.StringIO(text, newline=""))
    }
