"""The table of the README: the recorded runs that a reader needs, beside what others published."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ner_lightning.runs.results import Row, markdown_table

CONLL = "smollm2_conll2003"
PRETRAINED = "--model.backbone runs/smollm2_conll2003-pretrained/1/model"
SHORT = "--trainer.max_epochs 2"
TEST = 4  # the column of F1 on test
DOCUMENTS = "--model.optimizer.lr 2e-3 --trainer.max_epochs 3"


class Line(NamedTuple):
    """A line of the table: what it is called, what a sentence is read with, and its rows."""

    name: str
    context: str
    config: str
    overrides: tuple[str, ...]


LINES = (
    Line("causal attention: the control", "sentence", f"{CONLL} causal", (SHORT,)),
    Line("the recipe, 2 epochs", "sentence", CONLL, (SHORT,)),
    Line("... 4 epochs", "sentence", CONLL, ()),
    Line("ensemble of three seeds of 2 epochs", "sentence", f"{CONLL} ensemble", (SHORT, "of seeds 1, 2, 3")),
    Line(
        "documents, 3 epochs (`with/best.yaml`)",
        "document",
        f"{CONLL} document",
        ("--data.batches.tokens 1536", *DOCUMENTS.replace(" --", "|--").split("|")),
    ),
    Line(
        "ensemble of two with documents: averaged weights; pretrained backbone",
        "document",
        f"{CONLL} ensemble",
        (f"of {CONLL} averaged document seed 1 + {CONLL} document {PRETRAINED} {DOCUMENTS} seed 1",),
    ),
)


class Published(NamedTuple):
    """A figure of somebody else's: model, context, seeds, F1 on test, and the repository where it stands."""

    name: str
    context: str
    seeds: str
    test: str
    source: str


KARLOVICH = "zach-karlovich/modernbert-ner-ablation"
PUBLISHED = (
    Published("BERT-base (110M), fine-tuned", "sentence", "3", "0.9137 ± 0.0017", KARLOVICH),
    Published("BERT-base, with a CRF", "sentence", "-", "0.9187", "allanj/pytorch_neural_crf"),
    Published("BERT-base, 50 epochs; with a CRF", "sentence", "-", "0.9202; 0.9238", "syuoni/eznlp"),
    Published("ModernBERT-base (150M)", "sentence", "3", "0.9012 ± 0.0031", KARLOVICH),
    Published("ModernBERT-base (150M)", "document", "3", "0.9161 ± 0.0023", KARLOVICH),
    Published(
        "Qwen3-0.6B, text repeated once; 8 times", "sentence", "5", "0.8905; 0.8972", "TakeLab/repetition-sl"
    ),
)


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{spread}"


def table(rows: Sequence[Row]) -> str:
    """The lines that have rows, and the published ones below them."""
    body = []
    for line in LINES:
        own = [
            row
            for row in rows
            if row["metric"] == "f1"
            and (row["config"], tuple(row["overrides"])) == (line.config, line.overrides)
        ]
        by_split = {split: [r["value"] for r in own if r["split"] == split] for split in ("valid", "test")}
        if own:
            seeds = str(len({row["seed"] for row in own}))
            body.append(
                [line.name, line.context, seeds, *map(_mean, by_split.values()), "SmolLM2-135M, here"]
            )
    if body:
        best = max(body, key=lambda cells: cells[TEST])
        best[TEST] = f"**{best[TEST]}**"
    body += [
        [p.name, p.context, p.seeds, "-", p.test, f"[{p.source}](https://github.com/{p.source})"]
        for p in PUBLISHED
    ]
    return markdown_table(["tagger", "reads a", "seeds", "valid F1", "test F1", "source"], body)


def right_context(rows: Sequence[Row]) -> str:
    """The two lines that differ by the attention alone."""
    names = {f"{CONLL} causal": "causal", CONLL: "bidirectional"}
    body = []
    for config, name in names.items():
        cells = [
            _mean([r["value"] for r in rows if _is(r, config) and (r["split"], r["metric"]) == column])
            for column in (("valid", "f1"), ("test", "precision"), ("test", "recall"), ("test", "f1"))
        ]
        body.append([name, *cells])
    return markdown_table(["attention", "valid F1", "test precision", "test recall", "test F1"], body)


def _is(row: Row, config: str) -> bool:
    """Whether a row is of the first seed of two epochs of a recipe."""
    return row["config"] == config and row["overrides"] == [SHORT] and row["seed"] == 1


AS_IT_COMES = "ner-lightning fit, times run_ner as it comes"
GROUPED = "ner-lightning fit, times its own grouping by length"
PIPELINE = "times the rate of the pipeline"
# What a reader of the README asks for: kind and metric of a ratio, and what it is called there.
RATIOS = {
    ("training speed", AS_IT_COMES): "training, times `run_ner` as it comes",
    ("training speed", GROUPED): "... with its own grouping by length, at its better batch size",
    ("prediction speed", f"{PIPELINE} as it comes"): "prediction, times the pipeline as it comes",
    ("prediction speed", f"{PIPELINE} at its best"): "... at its best batch size and precision",
}


def speed_by_machine(rows: Sequence[Row]) -> str:
    """The ratios of the README, a column for each machine."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        name = RATIOS.get((row["split"], row["metric"]))
        if name is not None:
            cell = f"{row['value']:.2f} ({row['spread']})"
            found.setdefault(name, {})[row["machine"]] = cell
    machines = sorted({machine for line in found.values() for machine in line}, reverse=True)
    body = [
        [name, *(found[name].get(each, "-") for each in machines)]
        for name in RATIOS.values()
        if name in found
    ]
    return markdown_table(["median (least to most)", *machines], body) if body else "Not measured yet.\n"
