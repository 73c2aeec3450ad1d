"""Collects what an exported folder says about its training: data, scores with intervals, limitations."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ner_lightning.analysis.example_text import made_text, public_example
from ner_lightning.analysis.experiment import Experiment, find_experiment
from ner_lightning.analysis.render.blocks import Items
from ner_lightning.analysis.report.limitations import limitations
from ner_lightning.analysis.slices import TYPE
from ner_lightning.data.sources import SAMPLE
from ner_lightning.errors import UserError
from ner_lightning.export.card_training import training_facts
from ner_lightning.inference.loading import read_manifest
from ner_lightning.runs.folder import MANIFEST, run_of, run_path

SCORES = ("f1", "precision", "recall")


def facts(checkpoint: Path) -> dict[str, Any]:
    """Collects the facts from a run's files; empty if there is no run, or it has no predictions.

    Args:
        checkpoint: what is exported; scores are those of the run's best checkpoint, so another one has none.
    """
    own = run_of(checkpoint)
    if own is None:
        return {}
    try:
        run = find_experiment(str(own.path), own.path)
    except UserError:
        return {}
    if own.is_not_best(checkpoint):
        return _of_training(run) | {"limitations": [f"The checkpoint {checkpoint.stem} was not scored."]}
    split = "test" if "test" in run.splits else next(iter(run.splits))
    texts = [block.texts for block in limitations(run, split, several=False) if isinstance(block, Items)]
    return _of_training(run) | {
        "scores": {name: _scores(run, name) for name in run.splits},
        "other_data": [name for name in run.splits if run.is_of_other_data(name)],
        "limitations": [text for part in texts for text in part],
        "example": public_example(run),
    }


def _of_training(run: Experiment) -> dict[str, Any]:
    return {
        "run": run.name,
        "seed": run.seed,
        "made_of": run.made_of,
        "dataset": _dataset(run),
        "data": {
            name: {key: part.get(key) for key in ("sentences", "words", "fingerprint")}
            for name, part in run.about.get("data", {}).items()
        },
        "parameters": run.about.get("parameters"),
        "trained_parameters": run.about.get("trained_parameters"),
        "training": training_facts(run),
    }


def example_text(address: str | None, root: Path, types: Sequence[str]) -> str | None:
    """A text to try a tagger with, which anybody may read; None if there is none that fits.

    Args:
        address: a run folder, a checkpoint or an exported folder; None for the last run.
        root: the folder of runs, for None.
        types: the tagger's entity types.
    """
    path = run_path(address, root)
    example: Any = None
    if (path / MANIFEST).is_file():
        example = read_manifest(path)["about"].get("example")
    else:
        with suppress(UserError):  # no run, or one without predictions
            example = public_example(find_experiment(str(path), root))
    return example["text"] if example else made_text(types)


def _scores(run: Experiment, split: str) -> dict[str, Any]:
    analysis = run.splits[split]
    return {
        "sentences": len(analysis.predictions.rows),
        "all": {name: list(analysis.scores[name]) for name in SCORES},
        "f1 by type": {row.name: list(row.f1) for row in analysis.slices.get(TYPE, [])},
    }


def _dataset(run: Experiment) -> str:
    """The source of the training sentences: a data set, a local file or folder, or the class of a source."""
    source = run.data.get("source") or {}
    if source:
        return str(source["class_path"])
    if file := run.data.get("train"):
        return f"{Path(file).name} (a local file)"
    name = str(run.data.get("dataset", ""))
    local = name != SAMPLE and (Path(name).exists() or name.startswith(("/", ".", "~")))
    return f"{Path(name).name} (a local folder)" if local else name
