"""How long `ner-lightning data` takes for 10 MB: python benchmarks/data_speed.py.

Makes 10 MB of text from a vocabulary of 30,000 made-up words, used as often as words of a language (Zipf),
with capitalised names that are entities: as CoNLL columns, and as texts with entities by characters. Runs
`data check`, `data split` and `data convert` on each in a process of its own, and times it from start to end.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import measure

VOCABULARY = 30_000
NAMES = 3_000  # of the words
TYPES = ("PER", "ORG", "LOC", "MISC")


def sentences(seed: int) -> Iterator[list[tuple[str, str]]]:
    """Sentences of words and tags without end."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("aeioudnrstlmk", k=draw.randint(2, 9))) for _ in range(VOCABULARY)]
    names = {word.capitalize(): draw.choice(TYPES) for word in draw.sample(words, NAMES)}
    weights = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))
    listed = list(names)
    while True:
        row = []
        for word in draw.choices(words, cum_weights=weights, k=draw.randint(6, 34)):
            if draw.random() < 0.07:
                name = draw.choice(listed)
                row.append((name, f"B-{names[name]}" if draw.random() < 0.95 else "O"))
            else:
                row.append((word, "O"))
        yield [*row, (".", "O")]


def columns(size: int) -> str:
    """CoNLL columns."""
    parts, length = [], 0
    for row in sentences(1):
        parts.append("".join(f"{word} {tag}\n" for word, tag in row) + "\n")
        length += len(parts[-1])
        if length > size:
            return "".join(parts)
    raise AssertionError("there is no end of sentences")


def texts(size: int) -> str:
    """Lines of JSON with a text of several sentences and its entities."""
    rows, length, made = [], 0, sentences(1)
    while length < size:
        text, label = "", []
        for _ in range(8):
            for word, tag in next(made):
                text += " " if text and word != "." else ""
                if tag != "O":
                    label.append([len(text), len(text) + len(word), tag[2:]])
                text += word
        rows.append(json.dumps({"text": text, "label": label}) + "\n")
        length += len(rows[-1])
    return "".join(rows)


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    size = round(options.megabytes * 1e6)
    found: measure.Rounds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "columns.conll").write_text(columns(size), encoding="utf-8")
        (folder / "texts.jsonl").write_text(texts(size), encoding="utf-8")
        for number in range(options.rounds):
            for file in ("columns.conll", "texts.jsonl"):
                for action in ("check", "split", "convert"):
                    output = folder / f"{action}{number}{file}.jsonl"
                    command = [sys.executable, "-m", "ner_lightning", "data", action, str(folder / file)]
                    command += [] if action == "check" else ["--output", str(output)]
                    began = time.perf_counter()
                    subprocess.run(command, check=True, capture_output=True)
                    key = f"data {action}, {options.megabytes:g} MB of {file.partition('.')[0]}, seconds"
                    found.setdefault(key, []).append(time.perf_counter() - began)
    measure.report(
        found, kind="data", script="data_speed.py", words=words, record=options.record, config="made-up words"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
