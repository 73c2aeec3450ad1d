"""Training in fp32 beside bf16, with and without bf16 instructions: python benchmarks/precision_speed.py.

`ner-lightning fit` with the shipped recipe, not compiled, in batches of 8. A CPU without the instructions is
this one, whose library of products (oneDNN) is kept from them; `fit` itself would take fp32 there.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import measure
import torch
from lockstep import Lockstep, Worker
from train_speed import fit_words

from ner_lightning.model import devices

# What oneDNN may use at most, by the name of the row.
CPUS = {"all instructions": "DEFAULT", "AVX512 without bf16": "AVX512_CORE", "AVX2": "AVX2"}
PRECISIONS = {"bf16": "bf16-mixed", "fp32": "32-true"}
WARMUP = 2  # steps before a turn


class AsAsked(Lockstep):
    """Takes turns in the precision that was asked for, whatever the CPU."""

    def __init__(self) -> None:
        super().__init__()
        devices.cpu_multiplies_bf16 = lambda: True  # type: ignore[assignment]


def turn(options: argparse.Namespace, folder: Path, cpu: str, precision: str) -> Callable[[], float]:
    """A function that gives real sub-tokens a second of a training in a process of its own."""
    more = ["--trainer.precision", PRECISIONS[precision], "--data.batches.size", "8"]
    if options.backbone:
        more += ["--model.backbone", options.backbone]
    words = fit_words(options.data, folder, *more, "--model.runtime.compile", "false")
    words[-1] = "--trainer.callbacks+=precision_speed.AsAsked"

    def measured() -> float:
        os.environ["ONEDNN_MAX_CPU_ISA"] = CPUS[cpu]
        worker = Worker(words, folder / "log")
        worker.turn(WARMUP)
        rate = worker.turn(options.steps)[0]
        worker.end()
        return rate

    return measured


def product(dtype: torch.dtype) -> float:
    """TFLOP/s of a matrix product with the shape of SmolLM2's widest."""
    rows, inner, columns = 2046, 576, 3072
    one, other = torch.ones(rows, inner, dtype=dtype), torch.ones(columns, inner, dtype=dtype)
    seconds = []
    for _ in range(30):
        began = time.perf_counter()
        torch.nn.functional.linear(one, other)
        seconds.append(time.perf_counter() - began)
    return 2e-12 * rows * inner * columns / statistics.median(seconds)


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument("--backbone", help="instead of the recipe's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    kinds = {"bf16": torch.bfloat16, "fp32": torch.float32}
    found = measure.alternate(  # before oneDNN is kept from anything
        {f"products in {name}, TFLOP/s": partial(product, dtype) for name, dtype in kinds.items()},
        options.rounds,
    )
    with tempfile.TemporaryDirectory() as name:
        sides = {
            f"{cpu}, {precision}": turn(options, Path(name), cpu, precision)
            for cpu in CPUS
            for precision in PRECISIONS
        }
        rates = measure.alternate(sides, options.rounds)
    found |= {f"{side}, sub-tokens/s": values for side, values in rates.items()}
    for cpu in CPUS:
        found[f"{cpu}: fp32, times bf16"] = measure.ratio(rates, f"{cpu}, fp32", f"{cpu}, bf16")
    measure.report(
        found,
        kind="precision",
        script="precision_speed.py",
        words=words,
        record=options.record,
        data=measure.described(options.data),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
