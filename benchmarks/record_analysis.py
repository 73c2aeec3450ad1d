"""What a finished run's report says, as rows of docs/results.json: sizes, parameters, mistakes, reasons."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ner_lightning.analysis.experiment import find_experiment
from ner_lightning.analysis.failure import calibration_error
from ner_lightning.analysis.slices import TYPE
from ner_lightning.runs.folder import STAGES
from ner_lightning.runs.results import describe_data

Row = dict[str, Any]


def rows_of(folder: Path, shared: Mapping[str, Any]) -> list[Row]:
    """Rows about a run's data, model and mistakes.

    Args:
        folder: the run folder.
        shared: what all rows of the run have: config, overrides, seed, command, machine, ...
    """
    run = find_experiment(str(folder), folder)
    about, rows = run.about, []
    for split, described in about.get("data", {}).items():
        data = describe_data(described["origin"], described["fingerprint"])
        size = {"metric": "sentences", "value": described["sentences"]}
        more = {"words": described["words"], "by_type": described["entities"]}
        rows.append({**shared, "data": data, "split": split, **size, **more})
        if split in STAGES and split in run.splits:
            rows.append({**shared, "data": data, "split": split, **_mistakes(run.splits[split])})
    if "parameters" in about:
        fit = {"data": "", "split": "fit"}
        trained = {"trained": about["trained_parameters"]}
        rows.append({**shared, **fit, "metric": "parameters", "value": about["parameters"], **trained})
        if "peak_memory_bytes" in about:
            rows.append(
                {**shared, **fit, "metric": "peak memory, bytes", "value": about["peak_memory_bytes"]}
            )
        speed = [
            row["train/words_per_second"] for row in run.history.values() if "train/words_per_second" in row
        ]
        if speed:
            mean = sum(speed) / len(speed)
            rows.append({**shared, **fit, "metric": "words/s in training", "value": mean})
    return rows


def _mistakes(analysis: Any) -> Row:
    """The mistakes of a split: classes, reasons, intervals, calibration; no text of the data."""
    return {
        "metric": "mistakes",
        "value": sum(map(len, analysis.mistakes)),
        "classes": [list(c) for c in analysis.classes],
        "reasons": [
            [r.property, r.group, r.size, r.rate, r.rate_elsewhere, *r.difference] for r in analysis.reasons
        ],
        "contrasts": analysis.contrasts,
        "intervals": {name: list(value) for name, value in analysis.scores.items()},
        "types": [[s.name, s.gold, s.predicted, s.precision, s.recall, *s.f1] for s in analysis.slices[TYPE]],
        "calibration_error": calibration_error(analysis.calibration),
    }
