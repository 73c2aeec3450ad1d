"""What `run.json` keeps of a run's earlier states: data, settings, and tests of other checkpoints."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ner_lightning.runs.folder import Run

EARLIER = "earlier_tests"  # of run.json
_STAGE, _BASE = "test/", "predictions.test"
_OF_A_TEST = ("tested", "test_command")  # of run.json


def is_of_best(metrics: Mapping[str, Any]) -> bool:
    """Whether the test scores in a run's `metrics.json`, if any, are of the checkpoint of its validation."""
    tested, best = metrics.get("test/step"), metrics.get("val/step")
    return None in (tested, best) or tested == best


def set_test_aside(run: Run) -> str | None:
    """Keeps the scores of a run's test in `run.json`, and its predictions under a name of their own.

    Returns:
        where the predictions are now, and the F1 and file that they belong to; None if it was not tested.
    """
    metrics, about = run.read("metrics.json"), run.read("run.json")
    scores = {name: value for name, value in metrics.items() if name.startswith(_STAGE)}
    if not scores:
        return None
    number = len(about.get(EARLIER, ())) + 1
    for suffix in (".jsonl", ".conll"):
        file = run.path / f"{_BASE}{suffix}"
        if file.is_file():
            file.replace(run.path / f"{_BASE}.{number}{suffix}")
    run.write("metrics.json", {name: value for name, value in metrics.items() if name not in scores})
    data = dict(about.get("data", {}))
    tested = data.pop("test", {})
    entry = {name: about.pop(name) for name in _OF_A_TEST if name in about}
    earlier = [*about.get(EARLIER, ()), {"scores": scores, "data": tested, **entry}]
    run.write("run.json", about | {"data": data, EARLIER: earlier})
    f1, origin = scores.get("test/f1", float("nan")), Path(str(tested.get("origin", "test"))).name
    return f"F1 {f1:.4f} on {origin}, kept in {_BASE}.{number}.jsonl"


def set_aside_scores(run: Run) -> list[str]:
    """The names of the scores that were set aside last."""
    tests: list[dict[str, Any]] = run.read("run.json").get(EARLIER, [])
    return list(tests[-1]["scores"]) if tests else []


def earlier_data(before: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the run was trained and validated on before it was resumed, if that has changed."""
    data = {name: part for name, part in before.get("data", {}).items() if name in described}
    if any(part["fingerprint"] != described[name]["fingerprint"] for name, part in data.items()):
        yield {"epochs": before.get("epochs", 0), "data": data}


def earlier_settings(
    before: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any], ranks: int
) -> Iterator[dict[str, Any]]:
    """The settings that the run was trained with before it was resumed, of those that have changed.

    Args:
        before: what `run.json` said until now.
        old: the configuration until now.
        new: the configuration at hand.
        ranks: how many ranks train from now on.

    Yields:
        the number of epochs before, and their settings; nothing if none has changed.
    """
    changed = {
        f"{section}.{name}": value
        for section in ("trainer", "model", "data")
        for name, value in (old.get(section) or {}).items()
        if value != (new.get(section) or {}).get(name) and name != "logger"
    }
    if before.get("ranks", ranks) != ranks:
        changed["ranks"] = before["ranks"]
    if before and changed:
        yield {"epochs": before.get("epochs", 0), "settings": changed}
