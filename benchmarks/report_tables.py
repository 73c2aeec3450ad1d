"""The tables of docs/report.md, from rows of docs/results.json."""

from collections.abc import Iterator, Sequence
from typing import Any

Row = dict[str, Any]
CONLL = "smollm2_conll2003"
HEAD = list[str]


def _of(rows: Sequence[Row], metric: str, config: str = CONLL) -> Iterator[Row]:
    """Rows of a metric, of a recipe with or without overlays."""
    return (row for row in rows if row["metric"] == metric and row["config"].split(" ")[0] == config)


def _label(row: Row) -> str:
    return "`" + " ".join([row["config"], *row["overrides"]]) + "`"


def sizes(rows: Sequence[Row]) -> tuple[HEAD, list[list[str]]]:
    """Sentences, words and entities of the splits of both data sets."""
    body: dict[tuple[str, str], list[str]] = {}
    for config, name in ((CONLL, "CoNLL-2003"), ("quickstart", "bundled sample")):
        for row in _of(rows, "sentences", config):
            if "[" in row["data"]:
                continue  # cut to its first sentences
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in row["by_type"].items())
            body[name, row["split"]] = [
                name,
                row["split"],
                f"{row['value']:,}",
                f"{row['words']:,}",
                f"{sum(row['by_type'].values()):,}",
                kinds,
            ]
    order = {"train": 0, "valid": 1, "test": 2}
    return (
        ["data set", "split", "sentences", "words", "entities", "by type"],
        [body[key] for key in sorted(body, key=lambda key: (key[0] != "CoNLL-2003", order[key[1]]))],
    )


def model(rows: Sequence[Row]) -> tuple[HEAD, list[list[str]]]:
    """Parameters in all and trained, memory and speed of the recorded fits, of the first seed of each."""
    body = []
    for config in (CONLL, "quickstart"):
        first_seeds: dict[str, Row] = {}
        for row in _of(rows, "parameters", config):
            first_seeds.setdefault(_label(row), row)
        for row in first_seeds.values():
            beside = {
                r["metric"]: r["value"]
                for r in rows
                if r["split"] == "fit" and all(r[k] == row[k] for k in ("config", "overrides", "seed"))
            }
            memory, speed = beside.get("peak memory, bytes"), beside.get("words/s in training")
            body.append(
                [
                    _label(row),
                    f"{row['value']:,}",
                    f"{row['trained']:,}",
                    f"{row['trained'] / row['value']:.2%}",
                    f"{memory / 2**30:.2f}" if memory else "-",
                    f"{speed:,.0f}" if speed else "-",
                    row["machine"],
                ]
            )
    head = ["run", "parameters", "trained", "share", "peak memory, GiB", "words/s in training", "machine"]
    return head, body


def scores(rows: Sequence[Row]) -> tuple[HEAD, list[list[str]]]:
    """Accuracy, precision, recall and F1 of every recorded run, on validation and test."""
    runs: dict[tuple[str, str, str], dict[str, Any]] = {}
    for config in (CONLL, "quickstart"):
        for name in ("accuracy", "precision", "recall", "f1"):
            for row in _of(rows, name, config):
                key = (_label(row), str(row["seed"]), row["split"])
                runs.setdefault(key, {})[name] = row["value"]
    body = [
        [label, seed, split, *(f"{values[name]:.4f}" for name in ("accuracy", "precision", "recall", "f1"))]
        for (label, seed, split), values in sorted(
            runs.items(), key=lambda item: (item[0][2] != "test", item[0])
        )
        if len(values) == 4
    ]
    return ["run", "seed", "split", "word accuracy", "precision", "recall", "F1"], body


def attention(rows: Sequence[Row]) -> tuple[HEAD, list[list[str]]]:
    """What right context is worth: F1 with causal and with bidirectional attention, all else equal."""
    f1 = {(r["config"], str(r["overrides"]), r["split"], r["seed"]): r["value"] for r in _of(rows, "f1")}
    body = []
    for (config, overrides, split, seed), value in sorted(f1.items(), key=str):
        other = f1.get((config.replace(" causal", ""), overrides, split, seed))
        if " causal" in config and other is not None:
            body.append([split, str(seed), f"{value:.4f}", f"{other:.4f}", f"{other - value:+.4f}"])
    return ["split", "seed", "F1, causal", "F1, bidirectional", "difference"], body


def _mistakes(rows: Sequence[Row], split: str = "valid") -> Row | None:
    """The mistakes of the run with the best validation F1, on either split: nothing is chosen on test."""
    found = list(_of(rows, "mistakes"))
    valid = [row for row in found if row["split"] == "valid"]
    best = max(valid, key=lambda row: row["intervals"]["f1"][0], default=None)
    if best is None or split == "valid":
        return best
    return next((row for row in found if row["split"] == split and _run(row) == _run(best)), None)


def _run(row: Row) -> tuple[Any, ...]:
    return row["config"], row["overrides"], row["seed"]


def by_type(rows: Sequence[Row]) -> tuple[HEAD, list[list[str]]]:
    """Scores of each type on CoNLL-2003 with intervals, test and validation."""
    body = []
    for split in ("test", "valid"):
        row = _mistakes(rows, split)
        for name, gold, predicted, precision, recall, f1, low, high in row["types"] if row else ():
            counts = [split, name, f"{gold:,}", f"{predicted:,}"]
            body.append(
                [*counts, f"{precision:.4f}", f"{recall:.4f}", f"{f1:.4f}", f"{low:.4f} to {high:.4f}"]
            )
    return ["split", "type", "gold", "predicted", "precision", "recall", "F1", "95% interval"], body


def errors(rows: Sequence[Row]) -> tuple[HEAD, list[list[str]]]:
    """Classes of mistakes on CoNLL-2003 validation."""
    row = _mistakes(rows)
    body = [
        [kind, f"{mistakes:,}", f"{spurious:,}", f"{missed:,}", f"{gain:+.4f}"]
        for kind, mistakes, spurious, missed, gain in (row["classes"] if row else ())
    ]
    return ["class", "mistakes", "false positives", "false negatives", "F1 gained if fixed"], body


def reasons(rows: Sequence[Row]) -> tuple[HEAD, list[list[str]]]:
    """Groups that are missed more or less often than the rest on CoNLL-2003 validation, beyond chance."""
    row = _mistakes(rows)
    body = [
        [
            f"{name}: {group}",
            f"{size:,}",
            f"{rate:.1%}",
            f"{elsewhere:.1%}",
            f"{by:+.1%}",
            f"{low:+.1%} to {high:+.1%}",
        ]
        for name, group, size, rate, elsewhere, by, low, high in (row["reasons"] if row else ())
    ]
    return ["group", "gold", "false negatives", "among all others", "difference", "interval"], body


def source(rows: Sequence[Row]) -> tuple[HEAD, list[list[str]]]:
    """Which run the tables of mistakes are from, and how large its intervals are."""
    body = []
    for split in ("test", "valid"):
        row = _mistakes(rows, split)
        if row:
            f1, low, high = row["intervals"]["f1"]
            cells = [split, f"{f1:.4f}", f"{low:.4f} to {high:.4f}", f"{row['calibration_error']:.4f}"]
            body.append([_label(row), str(row["seed"]), *cells])
    return ["run", "seed", "split", "F1", "95% interval", "calibration error"], body


ALL = {
    "report_sizes": sizes,
    "report_model": model,
    "report_scores": scores,
    "report_attention": attention,
    "report_by_type": by_type,
    "report_errors": errors,
    "report_reasons": reasons,
    "report_source": source,
}
