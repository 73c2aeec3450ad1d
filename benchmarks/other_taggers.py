"""Speed beside taggers of other libraries: python benchmarks/other_taggers.py --export FOLDER --flair PYTHON.

An exported folder with its engines, beside flair's SequenceTagger and transformers' pipeline on BERT-base's
shape, and GLiNER's small model. These have random weights: how fast they are does not depend on what they
learned. Each side is a process of its own, with the Python of its library, and they take turns. Measured are
one sentence of 20 words, and validation sentences as they come, of which the other libraries take 32 a batch.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import measure
from engine_speed import Side, config, engines, milliseconds, ours, rate

from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.inference.engines.timing import WORDS

SIDES = Path(__file__).with_name("other_sides.py")
NAMES = {
    "pipeline": "transformers' pipeline, BERT-base",
    "flair": "flair, BERT-base",
    "gliner": "GLiNER, small-v2.1",
}


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--export", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--flair", metavar="PYTHON", help="of an environment with flair")
    parser.add_argument("--gliner", metavar="PYTHON", help="of an environment with gliner")
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument("--sentences", type=int, default=320, help="of the validation set")
    parser.add_argument("--calls", type=int, default=20, help="with the sentence, each round")
    parser.add_argument("--rounds", type=int, default=5)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    sentences = [list(each.words) for each in read_sentences(options.data / "valid.txt")][: options.sentences]
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        train = read_sentences(options.data / "train.txt")
        text.write_text("\n".join(" ".join(each.words) for each in train), encoding="utf-8")
        sides = {
            f"ours, {name}": Side(ours(options.export, engine)) for name, engine in engines(options.export)
        }
        pythons = {"pipeline": sys.executable, "flair": options.flair, "gliner": options.gliner}
        for kind, python in pythons.items():
            if python is not None:
                sides[NAMES[kind]] = Side([python, str(SIDES), kind, str(text)])
        try:
            found = speeds(sides, sentences, options.calls, options.rounds)
        finally:
            for side in sides.values():
                side.end()
    measure.report(
        found,
        kind="other taggers",
        script=Path(__file__).name,
        config=config(options.export),
        words=[
            {str(options.export): "FOLDER", options.flair: "PYTHON", options.gliner: "PYTHON"}.get(w, w)
            for w in words
        ],
        record=options.record,
        data=measure.described(options.data, "valid"),
    )
    return 0


def speeds(sides: dict[str, Side], sentences: list[list[str]], calls: int, rounds: int) -> measure.Rounds:
    """Milliseconds for a sentence, words/s, and the ratios of the other sides to the first."""
    first, *others = sides
    for side in sides.values():
        side.tag(WORDS, times=3)  # compiles kernels
        side.tag(*sentences[:32])

    taken = measure.alternate(
        {name: partial(milliseconds, side, calls) for name, side in sides.items()}, rounds
    )
    total = sum(map(len, sentences))
    calls_of: dict[str, Callable[[], float]] = {
        n: partial(rate, side, sentences, total) for n, side in sides.items()
    }
    rates = measure.alternate(calls_of, rounds)
    found = {f"{name}: one sentence, ms": values for name, values in taken.items()}
    found |= {f"{name}: words/s": values for name, values in rates.items()}
    for name in others:
        found[f"{name}: one sentence, times {first}"] = measure.ratio(taken, name, first)
        found[f"{first}: words/s, times {name}"] = measure.ratio(rates, first, name)
    return found


if __name__ == "__main__":
    sys.exit(main())
