"""Mitigations: what may help against which mistakes, and the gain where measured rows are given."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.failure import Analysis
from ner_lightning.analysis.mistakes import NOISE
from ner_lightning.analysis.slices import CAPITALS, LENGTH, SEEN, SENTENCE
from ner_lightning.errors import UserError
from ner_lightning.runs.results import read_rows

BOUNDARIES = frozenset({"too long", "too short", "shifted", "split", "merged"})
FIELDS = ("config", "overrides", "data", "split", "metric", "value", "seed")


def _sees_no_right_context(run: Experiment) -> bool:
    """Whether a layer is causal and the text is not repeated."""
    below = run.model.get("architecture", {}).get("causal_below")
    causal = run.model.get("attention") == "causal" or bool(below)
    return causal and not run.data.get("encoding", {}).get("repeats")


def _lacks_adapters(run: Experiment) -> bool:
    """Whether a layer of the backbone is frozen and has no adapter."""
    if not run.model or not run.model.get("freeze_backbone", True):
        return False
    return run.model.get("peft") != "lora" or bool((run.model.get("lora") or {}).get("top"))


@dataclass(frozen=True)
class Mitigation:
    """Something to try.

    Attributes:
        text: the advice.
        kinds: classes of mistakes that it addresses.
        properties: properties whose harder groups it addresses.
        control: the config overlay that turns it off, for rows measured with and without it.
        applies: whether a run does not do it yet; False if its settings do not tell.
    """

    text: str
    kinds: frozenset[str] = frozenset()
    properties: frozenset[str] = frozenset()
    control: str | None = None
    applies: Callable[[Experiment], bool] = lambda run: True


ALL = (
    Mitigation(
        "Let each word see its right context: bidirectional attention instead of causal.",
        kinds=frozenset({"wrong type", "type and boundary", "missed", "spurious"}),
        control="causal",
        applies=_sees_no_right_context,
    ),
    Mitigation(
        "Score whole tag sequences instead of single words: the CRF instead of a softmax.",
        kinds=BOUNDARIES | {"type and boundary"},
        properties=frozenset({LENGTH}),
        control="softmax",
        applies=lambda run: run.model.get("use_crf") is False,
    ),
    Mitigation(
        "Train adapters in every layer.",
        kinds=frozenset({"missed", "wrong type"}),
        control="frozen",
        applies=_lacks_adapters,
    ),
    Mitigation(
        "Train on more names: annotate more text, or swap names of one type in training sentences.",
        kinds=frozenset({"missed"}),
        properties=frozenset({SEEN}),
        applies=lambda run: not run.prompted,
    ),
    Mitigation(
        "Show the model the surrounding sentences (data.encoding.context).",
        kinds=frozenset({"wrong type"}),
        properties=frozenset({SENTENCE}),
        applies=lambda run: bool(run.data) and not run.data.get("encoding", {}).get("context"),
    ),
    Mitigation(
        "Add copies of training sentences in upper or lower case.",
        properties=frozenset({CAPITALS}),
        applies=lambda run: not run.prompted,
    ),
    Mitigation("Check these mistakes against the annotation guidelines on boundaries.", kinds=BOUNDARIES),
    Mitigation("Correct the annotation where it contradicts itself.", kinds=frozenset({NOISE})),
    Mitigation("Take a larger backbone.", kinds=frozenset({"wrong type", "missed"})),
)


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


def suitable(run: Experiment, analysis: Analysis) -> list[Mitigation]:
    """Mitigations for the mistakes of a run, those for the costliest class first.

    Args:
        run: the run; what it does already is not advised.
        analysis: of one of its splits.
    """
    harder = {reason.property for reason in analysis.reasons if reason.difference.value > 0}
    rank = {c.kind: index for index, c in enumerate(analysis.classes)}
    fitting = [m for m in ALL if m.applies(run) and (m.kinds & rank.keys() or m.properties & harder)]
    return sorted(fitting, key=lambda m: min((rank[kind] for kind in m.kinds & rank.keys()), default=0))


def targets(mitigation: Mitigation, analysis: Analysis) -> str:
    """The classes and groups of this analysis that a mitigation addresses."""
    kinds = [c.kind for c in analysis.classes if c.kind in mitigation.kinds]
    harder = [
        f"{r.property}: {r.group}"
        for r in analysis.reasons
        if r.difference.value > 0 and r.property in mitigation.properties
    ]
    return ", ".join([*kinds, *harder])


def read_ladder(file: Path) -> list[dict[str, Any]]:
    """Reads measured rows in the format of `docs/results.json`.

    Raises:
        UserError: the file is missing or has another format.
    """
    if not file.is_file():
        raise UserError(f"--ladder {file}: there is no such file")
    try:
        rows = read_rows(file)
    except UserError as error:
        raise UserError(f"--ladder {error}") from None
    if not all(row.keys() >= set(FIELDS) for row in rows):
        raise UserError(f"--ladder {file}: not a list of rows with {', '.join(FIELDS)}")
    return rows


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
