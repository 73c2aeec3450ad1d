"""Engines of exported folders beside each other: python benchmarks/engine_speed.py --export FOLDER ...

A folder of `export --format openvino` has two sides, PyTorch and OpenVINO; any other has one. Each side is a
process of its own, and they take turns. Measured are one sentence of 20 words, about 1,000 sub-tokens in
a batch, and a full batch; and how far the tags, probabilities and F1 of each side on the validation
sentences are those of the first one.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import measure
import numpy as np

from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import spans
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SAMPLE_FOLDER
from ner_lightning.inference.engines.timing import WORDS
from ner_lightning.inference.loading import read_folder
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.scoring import TOKENS
from ner_lightning.metrics.from_counts import scores
from ner_lightning.model.devices import runs_in_bf16

SIZES = {"about 1,000 sub-tokens": 1000, "a full batch": TOKENS - 300}  # padding comes on top
CLOSE = 0.02  # differences of probabilities above it are counted
Answer = list[tuple[list[str], dict[tuple[str, int, int], float]]]  # of each sentence tags, and entities


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--export", nargs="+", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--data", type=Path, help="a folder with valid.txt (default: the bundled sample)")
    parser.add_argument("--calls", type=int, default=60, help="sentences a round")
    parser.add_argument("--rounds", type=int, default=5)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    if words[:1] == ["--work"]:  # a side of its own
        work(Path(words[1]), words[2])
        return 0
    options = parser.parse_args(words)
    file = options.data / "valid.txt" if options.data else SAMPLE_FOLDER / "valid.conll"
    sentences = read_sentences(file)
    sides = {
        name: Side(ours(folder, engine)) for folder in options.export for name, engine in engines(folder)
    }
    try:
        found = speeds(sides, sentences, options.calls, options.rounds) | agreement(sides, sentences)
    finally:
        for side in sides.values():
            side.end()
    measure.report(
        found,
        kind="engine speed",
        script=Path(__file__).name,
        words=["--export", *("FOLDER" for _ in options.export), *words[1 + len(options.export) :]],
        record=options.record,
        config=config(options.export[0]),
        data=measure.described(options.data, "valid") if options.data else "sample",
    )
    return 0


def ours(folder: Path, engine: str) -> list[str]:
    """The command line of a side that tags with an exported folder and an engine of `from_pretrained`."""
    return [sys.executable, __file__, "--work", str(folder), engine]


def engines(folder: Path) -> list[tuple[str, str]]:
    """The sides of a folder: their names, and what is asked for."""
    files = read_folder(folder)
    precision = "bf16" if runs_in_bf16(files.bf16, "cpu") else "fp32"
    if files.form == "onnx":
        return [("onnx fp32", "auto")]
    more = [] if files.engines is None else [(f"openvino {precision}", "openvino")]
    return [(f"torch {precision}", "torch"), *more]


def config(folder: Path) -> str:
    """What was measured: the run behind the folder, if it says so."""
    return str((read_folder(folder).about or {}).get("run") or "exported tagger")


class Side:
    """A process that tags, in its turn.

    Args:
        command: its command line; it reads what to tag from standard input, as `work` does.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.tag(["Nobody"], times=1)  # it is loaded when it answers

    def tag(self, *sentences: Sequence[str], times: int = 1, answer: bool = False) -> Any:
        """Seconds of each call with these sentences; or the `Answer` of one."""
        asked, answered = self._pipes()
        asked.write(json.dumps([sentences, times, answer]) + "\n")
        asked.flush()
        line = answered.readline()
        if not line:
            raise RuntimeError("a side ended; its message is above")
        return json.loads(line)

    def end(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


def work(folder: Path, engine: Any) -> None:
    """A side: reads what to tag from standard input, and answers with seconds or with what it found."""
    tagger = NERTagger.of_files(read_folder(folder), "cpu", engine)
    for line in sys.stdin:
        sentences, times, wanted = json.loads(line)
        seconds = []
        for _ in range(times):
            began = time.perf_counter()
            found = tagger(words=sentences)
            seconds.append(time.perf_counter() - began)
        whole = [
            [each.tags, [(e.label, e.word_start, e.word_end, e.score) for e in each.entities]]
            for each in found
        ]
        print(json.dumps(whole if wanted else seconds), flush=True)


def speeds(sides: dict[str, Side], sentences: Sequence[Sentence], calls: int, rounds: int) -> measure.Rounds:
    """Milliseconds for a sentence, words/s in batches, and each side's ratio to the first."""
    found: measure.Rounds = {}
    first, *others = sides
    for side in sides.values():
        side.tag(WORDS, times=5)  # compiles kernels
    taken: dict[str, list[list[float]]] = {name: [] for name in sides}

    def one(name: str) -> float:
        taken[name].append(sides[name].tag(WORDS, times=calls))
        return 1000 * float(np.median(taken[name][-1]))

    measure.alternate({name: partial(one, name) for name in sides}, rounds)
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        by_side = {name: [1000 * float(np.quantile(each, share)) for each in taken[name]] for name in sides}
        found |= {f"{name}: one sentence, {label}, ms": values for name, values in by_side.items()}
        for name in others:
            found[f"{name}: one sentence, {label}, times {first}"] = measure.ratio(by_side, name, first)
    for label, size in SIZES.items():
        batch = of_similar_length(sentences, size)
        count = sum(map(len, batch))
        rates: dict[str, Callable[[], float]] = {
            name: partial(rate, side, batch, count) for name, side in sides.items()
        }
        for work_once in rates.values():
            work_once()
        by_side = measure.alternate(rates, rounds)
        found |= {f"{name}: {label}, words/s": values for name, values in by_side.items()}
        for name in others:
            found[f"{name}: {label}, times as fast as {first}"] = measure.ratio(by_side, name, first)
    return found


def rate(side: Side, batch: Sequence[Sequence[str]], words: int) -> float:
    """Words/s."""
    return words / float(side.tag(*batch)[0])


def milliseconds(side: Side, calls: int) -> float:
    """The median of so many calls with a sentence of 20 words."""
    return 1000 * float(np.median(side.tag(WORDS, times=calls)))


def of_similar_length(sentences: Sequence[Sentence], size: int) -> list[list[str]]:
    """Sentences from the median length on, of about so many sub-tokens: 1.5 for each word."""
    ordered = sorted((list(each.words) for each in sentences), key=len)
    middle = ordered[len(ordered) // 2 :] or ordered
    chosen: list[list[str]] = []
    while sum(map(len, chosen)) * 1.5 < size:
        chosen.append(middle[len(chosen) % len(middle)])
    return chosen


def agreement(sides: dict[str, Side], sentences: Sequence[Sentence]) -> measure.Rounds:
    """F1 of each side, and how its tags and probabilities differ from those of the first."""
    answers = {name: answer_of(side, sentences) for name, side in sides.items()}
    first, *others = answers
    found: measure.Rounds = {f"{name}: F1": [f1(each, sentences)] for name, each in answers.items()}
    words = sum(len(each.words) for each in sentences)
    for name in others:
        pairs = list(zip(answers[first], answers[name], strict=True))
        equal = sum(a == b for one, other in pairs for a, b in zip(one[0], other[0], strict=True))
        gaps = [
            abs(one[1][entity] - other[1][entity])
            for one, other in pairs
            for entity in one[1].keys() & other[1]
        ]
        found[f"{name}: words tagged as by {first}, percent"] = [100 * equal / words]
        found[f"{name}: largest difference of a probability"] = [max(gaps, default=0.0)]
        found[f"{name}: probabilities that differ by more than {CLOSE}, percent"] = [
            100 * float(np.mean([gap > CLOSE for gap in gaps])) if gaps else 0.0
        ]
    return found


def answer_of(side: Side, sentences: Sequence[Sentence]) -> Answer:
    """What a side finds."""
    rows = side.tag(*(list(each.words) for each in sentences), answer=True)
    return [
        (tags, {(label, start, end): score for label, start, end, score in found}) for tags, found in rows
    ]


def f1(answer: Answer, sentences: Sequence[Sentence]) -> float:
    """Entity-level F1."""
    counts = [0, 0, 0]
    for (tags, _), sentence in zip(answer, sentences, strict=True):
        found, gold = set(spans(tags)), set(spans(sentence.tags))
        for number, those in enumerate((found & gold, found, gold)):
            counts[number] += len(those)
    return scores(counts).f1


if __name__ == "__main__":
    sys.exit(main())
