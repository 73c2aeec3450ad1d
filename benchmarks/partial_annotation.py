"""Trains on partly annotated data: python benchmarks/partial_annotation.py --record docs/results.json.

Of the training entities a share is removed at random, by the seed of the run, and their words are left
without an annotation. Each arm reads the rest in its own way; validation and test data stay complete. A cell
is an arm with a seed: its rows are written when it ends, and a cell that has rows is skipped, so that the
program can be stopped and started again.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cells import add_options, cells_of

from ner_lightning.data.readers.columns import write_conll
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import spans, to_bio2
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SAMPLE_FOLDER

RECIPE = ("configs/quickstart.yaml",)
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


def main(args: Sequence[str] | None = None) -> int:
    """Runs the cells that have no rows yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_options(parser, RECIPE)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--share", type=float, default=0.5, help="of the entities that are removed")
    parser.add_argument("--folder", type=Path, default=Path("runs/partial_annotation"), help="of the data")
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    cells = cells_of(CONFIG, "partial_annotation.py", options, words)
    sentences = read_sentences(SAMPLE_FOLDER / "train.conll")
    for seed in options.seeds:
        path = options.folder / f"{options.share:g}_removed_seed_{seed}.conll"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_conll(path, sentences, thinned(sentences, options.share, seed))
        for arm in options.arms:
            cells.run([f"{options.share:g} removed", arm], seed, settings(arm, path, options.share))
    return 0


if __name__ == "__main__":
    sys.exit(main())
