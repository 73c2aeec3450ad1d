"""Prompted runs as rows of docs/results.json, and the table that sets them beside trained ones."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
PROMPTED = "prompted"  # the first word of a prompted run's config
COUNTS = {
    "answers": "answers",
    "failed": "answers that could not be read",
    "absent": "entities that are not in their sentence",
    "cut": "answers cut short",
}
SCORES = ("precision", "recall", "f1")


def counts(prompting: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[Row]:
    """What could not be read, as rows beside the scores."""
    for name, metric in COUNTS.items():
        yield {**shared, "metric": metric, "value": prompting[name]}


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and body: prompted runs, each recipe's trained run on the same whole split before them."""
    head = ["run", "data", "sentences", *SCORES, "unreadable answers", "entities not in the sentence"]
    runs: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in sorted(rows, key=lambda row: -row["seed"]):  # of several seeds the first stays
        words = row["config"].split(" ")
        plain = len(words) == 1 and not row["overrides"]
        if row["split"] in {"valid", "test"} and (words[0] == PROMPTED or plain):
            run = (" ".join([row["config"], *row["overrides"]]), row["data"], row["split"])
            runs.setdefault(run, {})[row["metric"]] = row
    prompted = {(data, split) for (name, data, split) in runs if name.startswith(PROMPTED)}
    sampled = {(d, s) for (name, d, s) in runs if name.startswith(PROMPTED) and "--sentences" in name}
    body = []
    for (name, data, split), found in sorted(runs.items(), key=lambda item: (item[0][1], item[0][0])):
        trained = not name.startswith(PROMPTED)
        if (data, split) not in prompted or (trained and (data, split) in sampled) or "f1" not in found:
            continue
        size = found["answers" if "answers" in found else "sentences"]["value"]
        scores = [f"{found[metric]['value']:.4f}" for metric in SCORES]
        unread = ["", ""] if trained else [f"{found[COUNTS[c]]['value']:,}" for c in ("failed", "absent")]
        label = f"trained: `{name}`" if trained else f"`{name}`"
        body.append([label, f"{data.split(' ')[0]}, {split}", f"{size:,}", *scores, *unread])
    return head, body
