"""One process with all cores beside several that share them: python benchmarks/worker_speed.py.

What `predict` and `predict --workers N` do with blocks of texts, loaded beforehand, in alternating order. The
tagger has the recipe's size, with random adapters, head and CRF.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import measure
from recipe_tagger import Recipe, options_of
from tagger_group import write_runs

from ner_lightning.data.readers.record import Record
from ner_lightning.inference.block_pool import tag_in_order
from ner_lightning.inference.bulk import BlockTagger, TaggedBlock
from ner_lightning.inference.io.writers import writer
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.worker_pool import WorkerPool
from ner_lightning.system.child_process import cores_each
from ner_lightning.system.terminal import counted

BLOCKS = 8


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    words = list(sys.argv[1:] if args is None else args)
    parser = options_of(__doc__, sentences=1600, rounds=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(words)
    recipe = Recipe(options)
    texts = [" ".join(sentence.words) for sentence in recipe.data.corpus.split("valid").sentences]
    size = -(-len(texts) // BLOCKS)
    records = [Record("x.txt", number, text) for number, text in enumerate(texts, 1)]
    blocks = [records[start : start + size] for start in range(0, len(records), size)]
    with tempfile.TemporaryDirectory() as folder:
        run = write_runs(recipe, Path(folder), 1)["tagger0"]
        found = speeds(run, blocks, options.workers, options.rounds)
    measure.report(
        found,
        kind="workers",
        script="worker_speed.py",
        words=words,
        record=options.record,
        data=measure.described(options.data, "valid"),
    )
    return 0


def of_worker(run: str, number: int, temperature: float | None) -> BlockTagger:
    """What a worker tags with."""
    tagger = NERTagger.from_run(run)
    return BlockTagger(tagger, writer("jsonl", tagger.labels.types).row)


def speeds(run: str, blocks: list[list[Record]], count: int, rounds: int) -> measure.Rounds:
    """Words per second, and the share of texts whose lines are the same to the last digit."""
    lines: dict[int, list[str]] = {}

    def speed(pool: WorkerPool, workers: int) -> Callable[[], float]:
        def measured() -> float:
            began = time.perf_counter()
            tagged: list[TaggedBlock] = list(tag_in_order(pool, iter(blocks)))
            seconds = time.perf_counter() - began
            lines[workers] = "".join(each.lines for each in tagged).splitlines()
            return sum(each.totals.words for each in tagged) / seconds

        return measured

    with WorkerPool(partial(of_worker, run), 1) as one, WorkerPool(partial(of_worker, run), count) as several:
        one.start()
        several.start()
        threads = cores_each(count)
        sides = {
            f"1 process of {cores_each(1)} threads, words/s": speed(one, 1),
            f"{count} processes of {counted(threads, 'thread')}, words/s": speed(several, count),
        }
        warm_up = blocks[0][:20]
        for pool in (one, several):
            list(tag_in_order(pool, iter([warm_up] * 4)))
        found = measure.alternate(sides, rounds)
    alone, together = sides
    found[f"times the rate of 1 process: {count} processes"] = measure.ratio(found, together, alone)
    same = sum(a == b for a, b in zip(lines[1], lines[count], strict=True)) / len(lines[1])
    found["share of texts with the same line to the last digit"] = [same]
    return found


if __name__ == "__main__":
    raise SystemExit(main())
