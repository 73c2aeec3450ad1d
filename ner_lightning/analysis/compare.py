"""Compares runs: on the same sentences, by recipe, and by the settings in which they differ."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.rows import Row
from ner_lightning.data.schemes import Span
from ner_lightning.errors import UserError
from ner_lightning.runs.fingerprints import shortened


def shared_split(runs: Sequence[Experiment], requested: str | None = None) -> str:
    """The split to compare on: the requested one, or valid if all have it, or test.

    Raises:
        UserError: not every run has predictions of it.
    """
    common = set.intersection(*(set(run.files) for run in runs))
    wanted = [requested] if requested else ["valid", "test", *sorted(common)]
    split = next((name for name in wanted if name in common), None)
    if split is None:
        has = "; ".join(f"{run.name}: {', '.join(run.files)}" for run in runs)
        raise UserError(f"the runs share no predictions of {requested or 'one split'} ({has})")
    return split


def on_shared_sentences(runs: Sequence[Experiment], split: str) -> list[Experiment]:
    """The runs, each on the sentences of the run with the fewest, in the same order.

    Raises:
        UserError: a run lacks some of them, or has them with other annotations.
    """
    fewest = min(runs, key=lambda run: len(run.splits[split].predictions.rows))
    wanted = _sentences(fewest, split)
    selected = []
    for run in runs:
        indices = _indices(wanted, _sentences(run, split))
        if indices is None:
            raise UserError(
                f"{fewest.name} and {run.name} have other sentences or annotations in {split}: scores of "
                "different data cannot be compared"
            )
        whole = len(indices) == len(run.splits[split].predictions.rows)
        selected.append(run if whole else run.only(split, indices))
    return selected


def _sentences(run: Experiment, split: str) -> list[tuple[list[str], list[Span]]]:
    return [(list(row.words), row.gold) for row in run.splits[split].predictions.rows]


def _indices(wanted: Sequence[object], items: Sequence[object]) -> list[int] | None:
    """The indices of the wanted items, which must be in the same order; None if one is not there."""
    remaining = iter(enumerate(items))
    indices = [next((index for index, item in remaining if item == one), None) for one in wanted]
    return None if None in indices else [index for index in indices if index is not None]


def recipes(runs: Sequence[Experiment]) -> list[list[Experiment]]:
    """The runs grouped by recipe: by configuration without the seed, training data and backbone's weights.

    Raises:
        UserError: a run is named twice, which would count it as two seeds.
    """
    groups: dict[str, list[Experiment]] = {}
    folders: set[Path] = set()
    for index, run in enumerate(runs):
        if run.folder in folders:
            raise UserError(f"{run.name} is named twice; name each run once")
        if run.folder is not None:
            folders.add(run.folder)
        trained_on = run.about.get("data", {}).get("train", {}).get("fingerprint")
        key = [run.recipe(), trained_on, run.about.get("backbone", {}).get("weights")]
        recipe = json.dumps(key, sort_keys=True, default=str) if run.config else str(index)
        groups.setdefault(recipe, []).append(run)
    return list(groups.values())


def repeated_seeds(runs: Sequence[Experiment]) -> list[object]:
    """The seeds that several runs of a recipe have: their scores are one measurement, not several."""
    seeds = Counter(run.seed for run in runs if run.seed is not None and not run.made_of)
    return [seed for seed, count in seeds.items() if count > 1]


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple comparisons (Holm 1979), in their order."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted


def differing_settings(runs: Sequence[Experiment]) -> dict[str, list[str]]:
    """In which settings, data and versions the runs differ, seed and name apart; a value for each run."""
    facts = [dict(_facts(run)) for run in runs]
    names = dict.fromkeys(name for each in facts for name in each)
    values = {name: [each.get(name, _absent(name)) for each in facts] for name in names}
    return {name: each for name, each in values.items() if len(set(each)) > 1}


def _absent(name: str) -> str:
    """What stands for a setting that a run does not have: a trained run lacks those of a prompt."""
    return "not prompted" if name.startswith("prompting.") else "not recorded"


def _facts(run: Experiment) -> Iterator[tuple[str, str]]:
    yield from _flat(run.recipe())
    for split, data in run.about.get("data", {}).items():
        yield f"{split} data", f"{data['sentences']:,} sentences, {shortened(str(data['fingerprint']))}"
    if weights := run.about.get("backbone", {}).get("weights"):
        yield "backbone's weights", str(weights)[:14]
    yield from (
        (f"version of {name}", str(version)) for name, version in run.about.get("versions", {}).items()
    )
    if commit := run.about.get("commit"):
        yield "git commit", str(commit)[:10] + ("+changes" if str(commit).endswith("+changes") else "")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, str) and value.startswith("/"):
        return "/".join(PurePath(value).parts[-2:])  # without the folders of the machine
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class Decided(NamedTuple):
    """A sentence on which one of two runs makes fewer mistakes.

    Attributes:
        sentence: its index.
        first, second: its rows.
        margin: by how many false positives and negatives the first is better; negative if the second is.
    """

    sentence: int
    first: Row
    second: Row
    margin: int


def decided(first: Experiment, second: Experiment, split: str) -> list[Decided]:
    """The sentences on which two runs differ in false positives and negatives, the largest margins first."""
    rows = zip(*(run.splits[split].predictions.rows for run in (first, second)), strict=True)
    found = [Decided(index, a, b, _errors(b) - _errors(a)) for index, (a, b) in enumerate(rows)]
    return sorted(
        (each for each in found if each.margin), key=lambda each: (-abs(each.margin), len(each.first.words))
    )


def _errors(row: Row) -> int:
    return len(row.gold) + len(row.predicted) - 2 * len(row.correct)
