"""Rows of docs/results.json, and the tables of the docs that are made from them.

python benchmarks/results.py --write README.md docs/*.md docs/*/*.md   # renew the tables between the markers
python benchmarks/results.py --check README.md docs/*.md docs/*/*.md   # exit 1 if one is out of date
"""

import argparse
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import headline
import prompt_table
import report_tables

from ner_lightning.runs.ladder_file import read_ladder
from ner_lightning.runs.ladder_table import ladder_table
from ner_lightning.runs.results import Row, markdown_table, read_rows

PRETRAINED = "pretraining"  # before the configs of a backbone that learned to fill in masked words
OTHER_DATA = re.compile(r"--data\.(dataset|train|valid|test|limits\.\w+)\b")
# Options that were removed, so that no reader can run such a row again; docs/ladder.md says what they gained.
REMOVED = re.compile(r"--(data\.(first_space|prefix_space)|model\.word_dropout)\b")
FILE = Path(__file__).parent.parent / "docs" / "results.json"
OPENING = re.compile(r"<!-- results: ")
MARKED = re.compile(r"(<!-- results: (\w+) -->\n)((?:(?!<!-- results: ).)*?)(<!-- end -->)", flags=re.S)


def score_table(rows: Sequence[Row], recipe: str) -> str:
    """One line for each recipe on its own data: overlays, options, seeds, mean scores and deviation."""
    runs: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        left_out = any(map(OTHER_DATA.match, row["overrides"])) or any(map(REMOVED.match, row["overrides"]))
        ours = row["config"].split(" ")[0] == recipe and not left_out and "ladder" not in row
        if ours and row["split"] in {"valid", "test"}:
            run = " ".join([row["config"], *row["overrides"]])
            runs.setdefault(run, {}).setdefault(f"{row['split']} {row['metric']}", []).append(row)
    body = []
    for run, found in runs.items():
        seeds = ", ".join(map(str, sorted({row["seed"] for same in found.values() for row in same})))
        scores = [_mean([row["value"] for row in found.get(name, ())]) for name in COLUMNS]
        body.append([f"`{_with_members(run, recipe)}`", seeds, *scores])
    body.sort(key=lambda cells: cells[-1])
    return markdown_table(["configs and options", "seeds", *COLUMNS], body)


def _with_members(run: str, recipe: str) -> str:
    """A run's configs and options; members of an ensemble or a soup are named once if only seeds differ."""
    name, of, members = run.partition(" soup of " if " soup of " in run else " ensemble of ")
    seeds: dict[str, list[str]] = {}
    for member in members.split(" + ") if of else ():
        options, _, seed = member.removeprefix(f"{recipe} ").partition(" seed ")
        seeds.setdefault(options, []).append(seed)
    if not all(seed for found in seeds.values() for seed in found):
        return run  # named in another way
    listed = (f"{o} seed{'s' * (len(found) > 1)} {', '.join(found)}" for o, found in seeds.items())
    return f"{name}{of}{' + '.join(listed)}"


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{spread}"


def smollm2(rows: Sequence[Row]) -> str:
    """The runs of SmolLM2 on CoNLL-2003."""
    return score_table(rows, "smollm2_conll2003")


def pretraining(rows: Sequence[Row]) -> str:
    """Backbones that learned to fill in masked words."""
    body = [
        [
            f"`{' '.join([row['config'].partition(' ')[2], *row['overrides']])}`",
            str(row["seed"]),
            f"{row['value']:.3f}",
            f"{row['minutes']:.0f}",
            f"{row['peak_memory_bytes'] / 2**30:.1f}",
            row["machine"],
        ]
        for row in rows
        if row["config"].split(" ")[0] == PRETRAINED
    ]
    head = ["configs and options", "seed", "cross-entropy, validation", "minutes", "peak GiB", "machine"]
    return markdown_table(head, body) if body else "Not measured yet.\n"


COLUMNS = ("valid f1", "test precision", "test recall", "test f1")


def cells(kind: str, recipe: str = "") -> Callable[[Sequence[Row]], str]:
    """The trainings of a program of `cells`: what distinguishes them, seeds, mean scores and deviation.

    Args:
        kind: of the program.
        recipe: the configs of those that are shown; empty for all.
    """

    def table(rows: Sequence[Row]) -> str:
        found: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            if row["config"].startswith(f"{kind} {recipe}"):
                found.setdefault(tuple(row["overrides"]), []).append(row)
        shared = set.intersection(*map(set, found)) if len(found) > 1 else set()
        body = [
            [
                ", ".join(word for word in name if word not in shared),
                ", ".join(map(str, sorted({row["seed"] for row in same}))),
                *(
                    _mean([r["value"] for r in same if f"{r['split']} {r['metric']}" == column])
                    for column in COLUMNS
                ),
            ]
            for name, same in found.items()
        ]
        return markdown_table(["data", "seeds", *COLUMNS], body) if body else "Not measured yet.\n"

    return table


def bench(kind: str) -> Callable[[Sequence[Row]], str]:
    """What one measurement found: a line for each figure, a column for each machine."""

    def table(rows: Sequence[Row]) -> str:
        return _by_machine([(row["metric"], row) for row in rows if row["split"] == kind])

    return table


def speedups(rows: Sequence[Row]) -> str:
    """The ratios alone, of all measurements."""
    kinds = ("training speed", "prediction speed", "cache speed", "crf speed")
    return _by_machine(
        [
            (f"{kind.removesuffix(' speed')}: {row['metric']}", row)
            for kind in kinds
            for row in rows
            if row["split"] == kind and ("times" in row["metric"] or "share" in row["metric"])
        ]
    )


def _by_machine(named: Sequence[tuple[str, Row]]) -> str:
    """A table of medians, and of the least and most of several rounds, with a column for each machine."""
    rounds: dict[str, set[int]] = {}
    lines: dict[str, dict[str, list[str]]] = {}
    for name, row in named:
        rounds.setdefault(row["machine"], set()).add(len(row["rounds"]))
        lines.setdefault(name, {}).setdefault(row["machine"], []).append(_figure(row))
    if not lines:
        return "Not measured yet.\n"
    heads = [machine + _rounds(counts) for machine, counts in rounds.items()]
    body = [
        [name, *("; ".join(line.get(machine, ["-"])) for machine in rounds)] for name, line in lines.items()
    ]
    spread = any("(" in cell for line in body for cell in line[1:])
    return markdown_table(["median (least to most)" if spread else "measured", *heads], body)


def _rounds(counts: set[int]) -> str:
    """How many rounds the figures of a column are the medians of, if several and all the same."""
    return f", {max(counts)} rounds" if len(counts) == 1 and max(counts) > 1 else ""


def _figure(row: Row) -> str:
    """A median with the least and the most; alone if there was one round, whole if it is a count."""
    values = row["rounds"]
    counted = all(float(value).is_integer() for value in values) and max(map(abs, values), default=0) >= 10
    median = f"{row['value']:,.0f}" if counted or abs(row["value"]) >= 1000 else f"{row['value']:.2f}"
    return median if len(values) == 1 else f"{median} ({row['spread']})"


def memory_by_backbone(rows: Sequence[Row]) -> str:
    """Computed memory: a line for each backbone, a column for each setting."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["split"] == "memory by backbone":
            backbone, _, setting = row["metric"].removesuffix(", GiB").partition(": ")
            found.setdefault(backbone, {})[setting] = row["value"]
    if not found:
        return "Not computed yet.\n"
    first = next(iter(found.values()))
    settings = sorted(first, key=lambda setting: -first[setting])
    body = [[name, *(f"{line[setting]:.1f}" for setting in settings)] for name, line in found.items()]
    return markdown_table(["GiB", *settings], body, numbers=True)


def cpu_profile(rows: Sequence[Row]) -> str:
    """Where the time goes: a line for each kind of work, a column for each size."""
    found: dict[str, dict[str, str]] = {}
    profiles = [row for row in rows if row["split"] == "CPU profile"]
    several = len({row["machine"] for row in profiles}) > 1
    for row in profiles:
        size, _, work = row["metric"].partition(": ")
        work += f" ({row['machine']})" * several
        number = f"{row['value']:.2f}" if "times" in work else f"{row['value']:.0f}"
        found.setdefault(work, {})[size] = number
    if not found:
        return "Not measured yet.\n"
    known = ("one sentence", "1,000 sub-tokens", "a full batch")
    sizes = [*known, *sorted({size for line in found.values() for size in line} - set(known))]
    body = [[work, *(line.get(size, "") for size in sizes)] for work, line in found.items()]
    body.sort(
        key=lambda cells: (
            "alone" in cells[0],
            "percent" not in cells[0],
            -sum(map(float, filter(None, cells[1:]))),
        )
    )
    return markdown_table(["", *sizes], body, numbers=True)


def ladder(name: str, rows: Sequence[Row]) -> str:
    """The rungs of a ladder, in the order of its file."""
    known = read_ladder(Path(__file__).parent / "ladders" / f"{name}.yaml")
    if not any(row.get("ladder") == name for row in rows):
        return "Not measured yet.\n"
    return ladder_table(known, rows)


def _of_report(
    table: Callable[[Sequence[Row]], tuple[list[str], list[list[str]]]], rows: Sequence[Row]
) -> str:
    head, body = table(rows)
    return markdown_table(head, body) if body else "Not measured here.\n"


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "headline": headline.table,
    "right_context": headline.right_context,
    "smollm2": smollm2,
    "pretraining": pretraining,
    "quickstart": lambda rows: score_table(rows, "quickstart"),
    "speedups": speedups,
    "speed_by_machine": headline.speed_by_machine,
    "training": bench("training speed"),
    "gpu": bench("GPU speed"),
    "prediction": bench("prediction speed"),
    "cpu_profile": cpu_profile,
    "precision": bench("precision"),
    "engines": bench("engine speed"),
    "other_taggers": bench("other taggers"),
    "busy_machine": bench("busy machine"),
    "cache": bench("cache speed"),
    "crf": bench("crf speed"),
    "startup": bench("start-up"),
    "ensemble_memory": bench("ensemble memory"),
    "memory": bench("memory estimate"),
    "memory_by_backbone": memory_by_backbone,
    "service": bench("service under load"),
    "take_home": bench("take home"),
    "tagger_group": bench("tagger group"),
    "workers": bench("workers"),
    "taggers_under_load": bench("taggers under load"),
    "nf4_weights": cells("nf4 weights"),
    "distillation_sample": cells("distillation", "quickstart"),
    "distillation_few": cells("distillation", "start"),
    "quickstart_seeds": cells("recipe seeds", "quickstart"),
    "levers": cells("lever", "own_data"),
    "calibration": bench("calibration"),
    "data": bench("data"),
    "audit": bench("audit"),
    "audit_weights": cells("audit weights"),
    "partial_annotation": cells("partial annotation"),
    "annotation_rounds": cells("annotation rounds"),
    "candidates": bench("cost of candidates"),
    "ladder_conll2003": partial(ladder, "conll2003"),
    "ladder_conll2003_full": partial(ladder, "conll2003_full"),
    "ladder_conll2003_few": partial(ladder, "conll2003_few"),
    "ladder_conll2003_context": partial(ladder, "conll2003_context"),
    "ladder_conll2003_curve": partial(ladder, "conll2003_curve"),
    "ladder_wnut17": partial(ladder, "wnut17"),
    "prompted": partial(_of_report, prompt_table.table),
    **{name: partial(_of_report, table) for name, table in report_tables.ALL.items()},
}


def renewed(text: str, rows: Sequence[Row]) -> str:
    """A page with its marked tables made anew.

    Raises:
        ValueError: a marker has no end, or there is no table of its name.
    """
    found = list(MARKED.finditer(text))
    if len(found) != len(OPENING.findall(text)):
        raise ValueError("a results marker is malformed or has no <!-- end --> after it")
    unknown = sorted({m[2] for m in found} - TABLES.keys())
    if unknown:
        raise ValueError(f"no table is named {', '.join(unknown)} (there are {', '.join(TABLES)})")
    return MARKED.sub(lambda m: m[1] + TABLES[m[2]](rows) + m[4], text)


def main(args: Sequence[str] | None = None) -> int:
    """Renews or checks the tables of pages."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("pages", nargs="+", type=Path)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--write", action="store_true")
    how.add_argument("--check", action="store_true")
    options = parser.parse_args(args)
    rows = read_rows(FILE)
    stale = []
    for page in options.pages:
        text = page.read_text(encoding="utf-8")
        try:
            new = renewed(text, rows)
        except ValueError as error:
            print(f"{page}: {error}", file=sys.stderr)
            return 2
        if new != text:
            stale.append(str(page))
            if options.write:
                page.write_text(new, encoding="utf-8")
    if options.check and stale:
        print(f"out of date: {', '.join(stale)}; run python benchmarks/results.py --write ...")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
