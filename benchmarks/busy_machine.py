"""One sentence while other processes compute: python benchmarks/busy_machine.py --export FOLDER.

The engines of a folder of `export --format openvino`, and PyTorch with GOMP_SPINCOUNT=0, on an idle machine
and beside one process that computes without end. Between two operators PyTorch's threads spin; with fewer
cores than threads that are ready to run, each waits for the other's slice of time.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import measure
from engine_speed import Side, config, milliseconds, ours

from ner_lightning.inference.engines.timing import WORDS

SPIN = "GOMP_SPINCOUNT"
# The engine of each side, and what `env` sets for it.
SIDES = {
    "PyTorch": ("torch", []),
    f"PyTorch, {SPIN}=0": ("torch", [f"{SPIN}=0"]),
    "OpenVINO": ("openvino", []),
}


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--export", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--calls", type=int, default=20, help="with the sentence, each round")
    parser.add_argument("--rounds", type=int, default=5)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    sides = {
        name: Side(["env", "-u", SPIN, *variables, *ours(options.export, engine)])
        for name, (engine, variables) in SIDES.items()
    }
    found: measure.Rounds = {}
    try:
        for each in sides.values():
            each.tag(WORDS, times=5)
        for where, processes in (("idle", 0), ("beside another process", 1)):
            with busy(processes):
                calls: dict[str, Callable[[], float]] = {
                    f"{name}, {where}, ms": partial(milliseconds, each, options.calls)
                    for name, each in sides.items()
                }
                found |= measure.alternate(calls, options.rounds)
    finally:
        for each in sides.values():
            each.end()
    measure.report(
        found,
        kind="busy machine",
        script=Path(__file__).name,
        config=config(options.export),
        words=["FOLDER" if word == str(options.export) else word for word in words],
        record=options.record,
        data="a sentence of 20 words",
    )
    return 0


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Within it, so many processes compute."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    sys.exit(main())
