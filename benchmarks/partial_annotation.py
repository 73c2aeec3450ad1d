"""Trains on partly annotated data: python benchmarks/partial_annotation.py --record docs/results.json.

Of the training entities a share is removed at random, by the seed of the run, and their words are left
without an annotation. Each arm reads the rest in its own way; validation and test data stay complete. A cell
is an arm with a seed: its rows are written when it ends, and a cell that has rows is skipped, so that the
program can be stopped and started again.
"""

import argparse
import random
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import record
import results

from ner_lightning.commands.api import evaluate, train
from ner_lightning.data.readers.columns import write_conll
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import spans, to_bio2
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SAMPLE_FOLDER
from ner_lightning.runs.folder import STAGES, Run
from ner_lightning.runs.results import FIELDS, add_rows, describe_data, read_rows

RECIPE = "configs/quickstart.yaml"
ARMS = ("complete", "outside", "unknown", "missed")
CONFIG = "partial annotation"


def thinned(sentences: Sequence[Sentence], share: float, seed: int) -> list[Sequence[str]]:
    """The tags of sentences without some of their entities, chosen among all of them."""
    entities = [(at, span) for at, s in enumerate(sentences) for span in spans(s.tags or ())]
    left = random.Random(seed).sample(entities, len(entities) - round(share * len(entities)))
    kept: list[list[Any]] = [[] for _ in sentences]
    for at, span in left:
        kept[at].append(span)
    return [to_bio2(each, len(s.words)) for each, s in zip(kept, sentences, strict=True)]


def settings(arm: str, train_file: Path, share: float) -> dict[str, Any]:
    """The options of an arm.

    `complete` has all entities; without those that are removed, `outside` takes their words for no entities,
    `unknown` knows only the marked ones, and `missed` knows also which share was removed.
    """
    options: dict[str, Any] = {} if arm == "complete" else {"data.train": train_file}
    if arm in ("unknown", "missed"):
        options["data.files.unannotated"] = "unknown"
    if arm == "missed":
        options["model.loss.missed"] = share
    return options


def rows_of(run: Path, shared: dict[str, Any]) -> list[dict[str, Any]]:
    """The scores of a run, each counted again from the predictions."""
    metrics, about = Run(run).read("metrics.json"), Run(run).read("run.json")
    rows = []
    for split, stage in STAGES.items():
        file = run / f"predictions.{split}.jsonl"
        if file.is_file():
            counted = record.check(file, stage, metrics)
            source = about["data"][split]
            about_split = {
                "data": describe_data(source["origin"], source["fingerprint"]),
                "split": split,
                "versions": about["versions"],
                "machine": about["machine"],
                "commit": about["commit"],
            }
            rows += [shared | about_split | {"metric": m, "value": counted[m]} for m in record.METRICS]
    return [{name: row[name] for name in (*FIELDS, "minutes")} for row in rows]


def main(args: Sequence[str] | None = None) -> int:
    """Runs the cells that have no rows yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--share", type=float, default=0.5, help="of the entities that are removed")
    parser.add_argument("--config", nargs="+", default=[RECIPE], help="a recipe and overlays")
    parser.add_argument("--folder", type=Path, default=Path("runs/partial_annotation"), help="data and runs")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of all cells")
    parser.add_argument("--record", type=Path, default=results.FILE, help="the results file to add rows to")
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    recipe = [Path(file).stem for file in options.config]
    sentences = read_sentences(SAMPLE_FOLDER / "train.conll")
    for seed in options.seeds:
        path = options.folder / f"{options.share:g}_removed_seed_{seed}.conll"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_conll(path, sentences, thinned(sentences, options.share, seed))
        for arm in options.arms:
            overrides = [f"{options.share:g} removed", arm, *options.option]
            shared = {"config": " ".join([CONFIG, *recipe]), "overrides": overrides, "seed": seed}
            if any(all(row[k] == v for k, v in shared.items()) for row in read_rows(options.record)):
                print(f"{arm}, seed {seed}: measured already")
                continue
            begin = time.monotonic()
            chosen = dict(option.split("=", 1) for option in options.option)
            chosen |= {"name": f"partial_{arm}", "seed_everything": seed}
            run = train(options.config, chosen | settings(arm, path, options.share))
            evaluate(run)
            shared["minutes"] = (time.monotonic() - begin) / 60
            shared["command"] = shlex.join(["python", "benchmarks/partial_annotation.py", *words])
            rows = rows_of(run.path, shared)
            add_rows(rows, options.record)
            scores = {f"{row['split']} {row['metric']}": f"{row['value']:.4f}" for row in rows}
            print(f"{arm}, seed {seed}: {scores}, {shared['minutes']:.1f} minutes", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
