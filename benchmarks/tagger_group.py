"""Ten taggers on one backbone beside one: python benchmarks/tagger_group.py --record docs/results.json.

The taggers have the recipe's size, with random adapters, head and CRF. First the memory of a process that has
loaded one tagger, or all. Then words per second of texts of the bundled sample, in alternating order: one
tagger with merged adapters; the group, each text for another tagger, in mixed batches; the same texts one
tagger after the other.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measure
import torch
from recipe_tagger import Recipe, options_of

from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SAMPLE_FOLDER
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.tagger_group import TaggerGroup
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.model.checkpoint import saved_names
from ner_lightning.system.plain_settings import to_plain

COUNT = 10
RESIDENT = """
for line in open("/proc/self/status"):
    if line.startswith("VmRSS"):
        print(line.split()[1])
"""
ONE = """
from ner_lightning.inference.ner_tagger import NERTagger
tagger = NERTagger.from_run({run!r})
tagger("Vera left.")
"""
GROUP = """
from ner_lightning.inference.tagger_group import TaggerGroup
group = TaggerGroup({runs!r})
group.tag([(name, "Vera left.") for name in group])
"""


def write_runs(recipe: Recipe, folder: Path, taggers: int = COUNT) -> dict[str, str]:
    """Checkpoints of the taggers, by name."""
    labels = recipe.data.corpus.labels
    built, weights = build_tagger(recipe.settings, labels, Target(bf16=True))
    kept = saved_names(built)
    state = {f"tagger.{name}": value for name, value in built.state_dict().items() if name in kept}
    config = {
        "model": to_plain(recipe.settings) | {"members": None},
        "data": {"types": list(labels.types), "encoding": {"max_length": 512, "overlap": 64}},
        "trainer": {"precision": "bf16-mixed"},
    }
    runs = {}
    for number in range(taggers):
        torch.manual_seed(number)
        for name, value in state.items():
            torch.nn.init.normal_(value, std=0.02 if "lora_A" in name else 1e-3 if "lora_B" in name else 0.3)
        held = {
            "config": config,
            "backbone": {"name": recipe.backbone, "weights": weights},
            "state_dict": state,
        }
        runs[f"tagger{number}"] = str(folder / f"{number}.ckpt")
        torch.save(held, runs[f"tagger{number}"])
    return runs


def all_of(runs: dict[str, str]) -> str:
    """How many taggers there are, in words."""
    return "ten taggers" if len(runs) == 10 else f"{len(runs)} taggers"


def resident(code: str, runs: dict[str, str]) -> float:
    """Bytes in memory of a process that has loaded one tagger, or all."""
    code = code.format(run=runs["tagger0"], runs=runs) + RESIDENT
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return 1024.0 * int(done.stdout.split()[-1])


def same_entities(group: TaggerGroup, runs: dict[str, str], items: Sequence[tuple[str, str]]) -> float:
    """The share of words whose tags in the group are those of each tagger alone, merged."""
    same = words = 0
    found = group.tag(items)
    for name, run in runs.items():
        own = [number for number, (other, _) in enumerate(items) if other == name]
        alone = NERTagger.from_run(run)([items[number][1] for number in own])
        for number, tagged in zip(own, alone, strict=True):
            same += sum(a == b for a, b in zip(tagged.tags, found[number].tags, strict=True))
            words += len(tagged.tags)
    return same / words


def speeds(runs: dict[str, str], sentences: Sequence[Sentence], rounds: int) -> measure.Rounds:
    """Words per second, and how many tags are those of each tagger alone."""
    texts = [" ".join(sentence.words) for sentence in sentences]
    count = sum(len(sentence.words) for sentence in sentences)
    one, group = NERTagger.from_run(runs["tagger0"]), TaggerGroup(runs)
    items = [(f"tagger{number % len(runs)}", text) for number, text in enumerate(texts)]
    by_name = {name: [text for other, text in items if other == name] for name in group}
    sides: dict[str, Callable[[], Any]] = {
        "one tagger, merged, words/s": lambda: one(texts),
        f"{all_of(runs)}, mixed batches, words/s": lambda: group.tag(items),
        f"{all_of(runs)}, one after the other, words/s": lambda: [group(by_name[n], n) for n in group],
    }

    def measured(work: Callable[[], Any]) -> Callable[[], float]:
        def speed() -> float:
            began = time.perf_counter()
            work()
            return count / (time.perf_counter() - began)

        return speed

    for work in sides.values():
        work()
    found = measure.alternate({name: measured(work) for name, work in sides.items()}, rounds)
    for name in list(sides)[1:]:
        label = name.removesuffix(", words/s") + ": times the speed of one"
        found[label] = measure.ratio(found, name, next(iter(sides)))
    found[f"{all_of(runs)}: share of words with the tags of each alone"] = [same_entities(group, runs, items)]
    return found


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    words = list(sys.argv[1:] if args is None else args)
    parser = options_of(__doc__, sentences=300, rounds=5)
    parser.add_argument("runs", nargs="*", help="trained taggers of one backbone, instead of random ones")
    parser.add_argument("--folder", type=Path, help="where the taggers are kept, for serve_load.py")
    options = parser.parse_args(words)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sentences = read_sentences(SAMPLE_FOLDER / "train.conll")[: options.sentences]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        runs = {f"tagger{number}": run for number, run in enumerate(options.runs)}
        runs = runs or write_runs(Recipe(options), folder)
        memory = {
            "one tagger, bytes in memory": lambda: resident(ONE, runs),
            f"{all_of(runs)}, bytes in memory": lambda: resident(GROUP, runs),
        }
        found = measure.alternate(memory, 3)
        found[f"{all_of(runs)}: times the memory of one"] = measure.ratio(found, *reversed(list(memory)))
        found |= speeds(runs, sentences, options.rounds)
    about = {"kind": "tagger group", "script": "tagger_group.py"}
    measure.report(found, **about, words=words, record=options.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
