"""How long a command takes to begin: python benchmarks/startup.py.

Seconds to the end of `--help`, of the short help of each command, from a fit's start to its first
training step, compilation off, and of `predict --text` with each run or exported folder that is named.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import measure
from cache_speed import fit_times

from ner_lightning.commands.main import COMMANDS

PROGRAM = Path(sys.executable).with_name("ner-lightning")
TEXT = "Vera Holt left Lima for the offices of Norsk Hydro in Oslo on Monday."
IMPORT = ["import ner_lightning.inference.ner_tagger"]


def seconds_of(words: Sequence[str], program: Sequence[str | Path] = (PROGRAM,)) -> Callable[[], float]:
    """A function that times a command."""

    def timed() -> float:
        began = time.perf_counter()
        subprocess.run([*program, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - began

    return timed


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument("--backbone", help="instead of the recipe's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--predict", nargs="+", default=[], metavar="NAME=RUN", help="also tag with these")
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    more = ["--model.backbone", options.backbone] if options.backbone else []

    def first_step() -> float:
        with tempfile.TemporaryDirectory() as folder:
            began = time.time()
            times = fit_times(
                options.data, Path(folder), *more, "--trainer.max_steps", "1", "--data.limits.valid", "8"
            )
            return times["step"] - began

    sides: dict[str, Callable[[], float]] = {"ner-lightning --help, seconds": seconds_of(["--help"])}
    sides |= {f"{name} --help, seconds": seconds_of([name, "--help"]) for name in COMMANDS}
    sides["fit: command to first training step, seconds"] = first_step
    for name, _, run in (each.partition("=") for each in options.predict):
        sides[f"predict --text, {name}, seconds"] = seconds_of(["predict", run, "--text", TEXT])
    sides["import of the tagger's module, seconds"] = seconds_of(IMPORT, [sys.executable, "-c"])
    measure.report(
        measure.alternate(sides, options.rounds),
        kind="start-up",
        script="startup.py",
        words=[f"{w.partition('=')[0]}=RUN" if w in options.predict else w for w in words],
        record=options.record,
        data=measure.described(options.data),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
