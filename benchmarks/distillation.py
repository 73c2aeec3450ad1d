"""What a student keeps of an ensemble: python benchmarks/distillation.py --record docs/results.json.

Trains members, one for each seed, averages their scores (the ensemble) and their weights (the soup), and
distills as many students from the ensemble, each with the recipe and the cost of one member. With
`--untagged`, students also learn from further sentences of the training file without their tags. A cell is an
arm with a seed; it is skipped if it has rows.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cells import Cells, add_options, cells_of, runs_of

from ner_lightning.commands.api import RunResult, distill, evaluate
from ner_lightning.commands.main import main as ner_lightning
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.runs.folder import Run

RECIPE = ("configs/quickstart.yaml",)
CONFIG = "distillation"
SEEDS, TEMPERATURE, TRAIN_FILE = [1, 2, 3], 1.0, Path("data/conll2003/train.txt")
ARMS = ("members", "soup", "ensemble", "students")


def write_untagged(path: Path, file: Path, skipped: int, count: int) -> None:
    """Writes the words of some sentences of a file, without their tags."""
    rows = [
        json.dumps({"tokens": sentence.words, "document": sentence.document}, ensure_ascii=False)
        for sentence in read_sentences(file)[skipped : skipped + count]
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def together(members: Sequence[Path], *flags: str, validated: bool = True) -> RunResult:
    """The ensemble of members, or with a flag their soup, validated."""
    words = [
        "ensemble",
        *map(str, members),
        "--name",
        f"{CONFIG}_{'soup' if flags else 'ensemble'}",
        *flags,
    ]
    if ner_lightning(words):
        raise SystemExit(2)
    run = Run(Path("runs/last").resolve())
    if validated:
        evaluate(run.path, "valid")
    return RunResult(run.path, run.read("metrics.json"))


def members_of(cells: Cells, seeds: Sequence[int]) -> list[Path]:
    """The member of each seed, of the recipe and the options of these cells."""
    found = {seed: cells.find(["member"], seed, {}) for seed in seeds}
    if missing := [str(seed) for seed, path in found.items() if path is None]:
        raise SystemExit(f"there is no finished member of seed {', '.join(missing)}; --arms members makes it")
    return [path for path in found.values() if path is not None]


def ensemble_of(members: Sequence[Path]) -> Path:
    """The latest ensemble of these members, made if there is none."""
    wanted = [path.resolve() for path in members]
    for path in reversed(runs_of(f"{CONFIG}_ensemble")):
        made = Run(path).read("run.json").get("members", ())
        if [Path(each["run"]).resolve() for each in made] == wanted:
            return path
    return together(members, validated=False).path


def students(cells: Cells, options: Any, teacher: Path) -> None:
    """Distills a student for each seed."""
    text = [options.folder / "untagged.jsonl"] if options.untagged else []
    if text:
        limit = int(dict(cells.options)["data.limits.train"])
        write_untagged(text[0], options.train_file, limit, options.untagged)
    names = ["student", *([f"{options.untagged:,} untagged sentences"] if text else [])]
    settings: dict[str, Any] = dict(option.split("=", 1) for option in options.student)
    names += [f"{key}={value}" for key, value in settings.items()]
    names += [f"text of {options.train_file}"] * (bool(text) and options.train_file != TRAIN_FILE)
    names += [f"temperature {options.temperature:g}"] * (options.temperature != TEMPERATURE)
    names += [f"teacher of seeds {', '.join(map(str, options.seeds))}"] * (options.seeds != SEEDS)
    for seed in options.seeds:
        cells.measure(
            names,
            seed,
            lambda given: distill(
                teacher, cells.configs, given | settings, text=text, temperature=options.temperature
            ),
        )


def main(args: Sequence[str] | None = None) -> int:
    """Runs the cells that have no rows yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_options(parser, RECIPE)
    add = parser.add_argument
    add("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    add(
        "--untagged",
        type=int,
        default=0,
        metavar="N",
        help="sentences after data.limits.train",
    )
    add("--train_file", type=Path, default=TRAIN_FILE)
    add("--student", action="append", default=[], metavar="KEY=VALUE", help="an option of students alone")
    add("--temperature", type=float, default=TEMPERATURE)
    add("--folder", type=Path, default=Path("runs/distillation"), help="of the text")
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    cells = cells_of(CONFIG, "distillation.py", options, words)
    if "members" in options.arms:
        for seed in options.seeds:
            cells.run(["member"], seed, {})
    if options.arms == ["members"]:
        return 0
    members = members_of(cells, options.seeds)
    seeds = ", ".join(map(str, options.seeds))
    if "soup" in options.arms:
        cells.measure([f"soup of seeds {seeds}"], options.seeds[0], lambda _: together(members, "--soup"))
    if "ensemble" in options.arms:
        cells.measure([f"ensemble of seeds {seeds}"], options.seeds[0], lambda _: together(members))
    if "students" in options.arms:
        students(cells, options, ensemble_of(members))
    return 0


if __name__ == "__main__":
    sys.exit(main())
