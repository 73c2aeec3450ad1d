"""F1 after each round of annotation: python benchmarks/annotation_rounds.py --record docs/results.json.

The first texts are drawn at random from the bundled sample's training data. Each further round adds as many:
those about which the tagger of the round before is most uncertain, as `predict --most_uncertain` picks them,
or random ones. All trainings take the same number of steps, that of the recipe on all the data. A cell is an
arm with a round and a seed; a cell that has rows is skipped, if the run that the next one needs is there.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from cells import Cells, add_options, cells_of

from ner_lightning.data.readers.columns import write_conll
from ner_lightning.data.readers.record import Record
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SAMPLE_FOLDER
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.uncertainty_sampling import most_uncertain

RECIPE = ("configs/quickstart.yaml", "configs/with/cache_top6.yaml")
ARMS = ("doubtful", "random")
CONFIG = "annotation rounds"
STEPS = 192


def most_in_doubt(run: Path, sentences: Sequence[Sentence], pool: Sequence[int], count: int) -> list[int]:
    """Of the sentences in the pool, by index, those that a run's tagger is most in doubt about."""
    records = [Record("train.conll", sentences[at].line, sentences[at].words, id=at) for at in pool]
    tagger = NERTagger.from_run(str(run))
    chosen, _, _ = most_uncertain(tagger, [records], count, tokenized=False, strict=True)
    return [each.record.id for each in chosen]


class Rounds:
    """One arm of a seed: which sentences are annotated so far, and the run that was trained on them."""

    def __init__(self, cells: Cells, folder: Path, steps: int, seed: int) -> None:
        self.cells, self.folder, self.steps, self.seed = cells, folder, steps, seed
        self.sentences = read_sentences(SAMPLE_FOLDER / "train.conll")

    def train(self, arm: str, annotated: Sequence[int]) -> Path:
        """Trains on the annotated sentences, in the order of the data; returns the run.

        A run that is there is not trained again.
        """
        texts = f"{len(annotated)} texts"
        path = self.folder / f"{arm}_{len(annotated)}_seed_{self.seed}.conll"
        path.parent.mkdir(parents=True, exist_ok=True)
        chosen = [self.sentences[index] for index in sorted(annotated)]
        write_conll(path, chosen, [sentence.tags or () for sentence in chosen])
        types = sorted({tag[2:] for s in self.sentences for tag in s.tags or () if tag != "O"})
        options = {"data.train": path, "data.types": types}
        options |= {"trainer.max_epochs": -1, "trainer.max_steps": self.steps}
        names = [arm, texts, *([f"{self.steps} steps"] if self.steps != STEPS else [])]
        run = self.cells.run(names, self.seed, options)
        found = run.path if run is not None else self.cells.find(names, self.seed, options)
        if found is None:
            raise SystemExit(
                f"{', '.join(names)}, seed {self.seed}: it has rows, but its run is not in runs/"
            )
        return found


def main(args: Sequence[str] | None = None) -> int:
    """Runs the cells that have no rows yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_options(parser, RECIPE)
    parser.add_argument("--texts", type=int, default=100, help="that a round adds")
    parser.add_argument("--rounds", type=int, default=3, help="the first, random one among them")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    parser.add_argument("--folder", type=Path, default=Path("runs/annotation_rounds"), help="of the data")
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    cells = cells_of(CONFIG, "annotation_rounds.py", options, words)
    for seed in options.seeds:
        rounds = Rounds(cells, options.folder, options.steps, seed)
        pool = list(range(len(rounds.sentences)))
        first = random.Random(seed).sample(pool, options.texts)
        first_run = rounds.train("first", first)
        for arm in ARMS:
            annotated, run = list(first), first_run
            for number in range(1, options.rounds):
                left = [index for index in pool if index not in annotated]
                if arm == "random":
                    annotated += random.Random(f"{seed} {number}").sample(left, options.texts)
                else:
                    annotated += most_in_doubt(run, rounds.sentences, left, options.texts)
                run = rounds.train(arm, annotated)
    return 0


if __name__ == "__main__":
    sys.exit(main())
