"""How many corrupted labels `data audit` finds first: python benchmarks/audit_sample.py.

Corrupts 5% of the entities of the bundled sample's training data: a fifth each is removed, gets another type,
a longer or a shorter boundary, or is a new entity where there is none. Then runs `ner-lightning data audit`
with the quickstart's recipe, and counts which share of the corrupted sentences is among the first 10% of its
list. A stopped audit resumes when the command is given again with the same --folder.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import measure

from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import Span, spans, to_bio2
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SAMPLE_FOLDER
from ner_lightning.data.writers.annotation_writers import write_json

RECIPE = "configs/quickstart.yaml"
SEED = 1  # of the errors, unless another is given
SHARE = 0.05  # of the entities
TOP = 0.1  # of the sentences


def corrupted(sentences: Sequence[Sentence], seed: int) -> tuple[list[Sentence], set[int]]:
    """Sentences with wrong labels, and the indices of those that were changed."""
    draw = random.Random(seed)
    changed = list(sentences)
    places = [(i, span) for i, s in enumerate(sentences) for span in spans(s.tags or ())]
    types = sorted({span.type for _, span in places})
    draw.shuffle(places)
    wrong: set[int] = set()
    wanted = round(SHARE * len(places))
    for index, span in places:
        if len(wrong) == wanted:
            break
        if index in wrong:  # one error in a sentence, so that their numbers agree
            continue
        sentence = changed[index]
        entities = spans(sentence.tags or ())
        others = [each for each in entities if each != span]
        made = _error(draw, len(wrong) % 5, span, others, len(sentence.words), types)
        if made is None:
            continue
        changed[index] = replace(sentence, tags=tuple(to_bio2(made, len(sentence.words))))
        wrong.add(index)
    return changed, wrong


def _error(
    draw: random.Random, kind: int, span: Span, others: list[Span], length: int, types: Sequence[str]
) -> list[Span] | None:
    """The entities with one error; None if this entity cannot have one of the kind."""
    taken = {word for each in others for word in range(each.start, each.end)}
    if kind == 0:
        return others
    if kind == 1:
        return [*others, span._replace(type=draw.choice([each for each in types if each != span.type]))]
    if kind == 2:
        longer = span._replace(end=span.end + 1)
        return None if longer.end > length or span.end in taken else [*others, longer]
    if kind == 3:
        return None if span.end - span.start < 2 else [*others, span._replace(end=span.end - 1)]
    free = [w for w in range(length) if w not in taken and not span.start <= w < span.end]
    if not free:
        return None
    start = draw.choice(free)
    return [*others, span, Span(draw.choice(types), start, start + 1)]


def label(options: argparse.Namespace) -> str:
    """What is measured, for a row."""
    recipe, seed = " ".join([RECIPE, *options.option]), options.seed
    which = f" by seed {seed}" * (seed != SEED)
    return f"{recipe}, {options.folds} folds, {SHARE:.0%} of the sample's entities corrupted{which}"


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=SEED, help="of the errors")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the audit is kept, to resume it")
    parser.add_argument("--option", action="append", default=[], help="an option of fit, such as a backbone")
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    sentences, wrong = corrupted(read_sentences(SAMPLE_FOLDER / "train.conll"), options.seed)
    write_json(folder / "train.jsonl", sentences)
    command = [sys.executable, "-m", "ner_lightning", "data", "audit", "--config", RECIPE]
    command += ["--data.dataset", str(folder), "--data.train", str(folder / "train.jsonl")]
    command += ["--folds", str(options.folds), "--output", str(folder / "audit"), *options.option]
    resumed, began = (folder / "audit").exists(), time.monotonic()
    subprocess.run(command, check=True)
    minutes = (time.monotonic() - began) / 60
    with (folder / "audit" / "audit.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    top = rows[: round(TOP * len(rows))]
    hits = sum(row["index"] in wrong for row in top)
    found: measure.Rounds = {
        "corrupted sentences": [len(wrong)],
        f"of them among the first {TOP:.0%} of the list": [hits],
        "share": [hits / len(wrong)],
        "share by chance": [TOP],
    }
    if not resumed:  # these would be those of its last part
        found["minutes"] = [minutes]
    for name, values in found.items():
        print(name, values)
    measure.report(
        found,
        kind="audit",
        script="audit_sample.py",
        words=words,
        record=options.record,
        config=label(options),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
