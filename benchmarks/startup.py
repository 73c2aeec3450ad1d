"""How long a command takes to begin: python benchmarks/startup.py.

Seconds to the end of `--help`, of the short help of each command, and from a fit's start to its first
training step, compilation off.
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


def help_seconds(words: Sequence[str]) -> Callable[[], float]:
    """A function that times a command."""

    def timed() -> float:
        began = time.perf_counter()
        subprocess.run([PROGRAM, *words], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    return timed


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument("--backbone", help="instead of the recipe's")
    parser.add_argument("--rounds", type=int, default=5)
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

    sides: dict[str, Callable[[], float]] = {"ner-lightning --help, seconds": help_seconds(["--help"])}
    sides |= {f"{name} --help, seconds": help_seconds([name, "--help"]) for name in COMMANDS}
    sides["fit: command to first training step, seconds"] = first_step
    measure.report(
        measure.alternate(sides, options.rounds),
        kind="start-up",
        script="startup.py",
        words=words,
        record=options.record,
        data=measure.described(options.data),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
