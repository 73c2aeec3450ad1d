"""What keeping hidden states saves: python benchmarks/cache_speed.py.

A frozen backbone: one pass that fills the cache, 100 epochs of head and CRF with validation on it, and two
epochs without it, from which 100 are extrapolated. Adapters on the top six layers: steps with the cache and
without it, in alternating turns.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import measure
from lockstep import HERE, Worker
from train_speed import WARMUP, fit_words

EPOCHS = 100
FROZEN, TOP = "configs/with/cache.yaml", "configs/with/cache_top6.yaml"
TOP_LAYERS = 6
OFF = ("--model.cache.enabled", "false")
# Large batches: a step of head and CRF alone costs less than the loop around it.
BATCH = ("--data.batches.size", "256", "--data.batches.eval_size", "256")


def fit_times(data: Path, folder: Path, *options: str) -> dict[str, float]:
    """Runs a fit; returns when it reached its stages."""
    file = folder / "times.json"
    file.unlink(missing_ok=True)
    words = [
        *("-m", "ner_lightning", "fit", "--config", measure.RECIPE, *options),
        *("--data.dataset", str(data), "--runs", str(folder / "runs"), "--model.runtime.compile", "false"),
        *("--trainer.callbacks+=stopwatch.Stopwatch", "--trainer.callbacks.file", str(file)),
    ]
    environment = os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"}
    subprocess.run([sys.executable, *words], check=True, env=environment)
    times: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return times


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument("--backbone", help="instead of the recipe's")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=WARMUP)
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    more = ["--model.backbone", options.backbone] if options.backbone else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = ["--model.cache.folder", str(folder / "cache")]
        frozen = ["--config", FROZEN, *place, *more, *BATCH]
        kept = fit_times(options.data, folder, *frozen, "--trainer.max_epochs", str(options.epochs))
        plain = fit_times(options.data, folder, *frozen, *OFF, "--trainer.max_epochs", "2")
        extraction, training = kept["train"] - kept["fit"], kept["end"] - kept["train"]
        uncached = (plain["end"] - plain["train"]) / 2 * options.epochs
        found: measure.Rounds = {
            "filling the cache with train and valid, seconds": [extraction],
            f"{options.epochs} epochs of head and CRF on it, with validation, seconds": [training],
            f"{options.epochs} epochs, in passes that fill the cache": [training / extraction],
            f"{options.epochs} epochs without it, extrapolated from two, seconds": [uncached],
            "times as fast, filling included": [uncached / (extraction + training)],
        }
        top = [
            "--config",
            TOP,
            "--model.lora.top",
            str(TOP_LAYERS),
            *place,
            *more,
            "--config",
            measure.BUDGET,
        ]
        with_it, without = f"adapters on the top {TOP_LAYERS} layers, cached", "the same, uncached"
        workers = {
            with_it: Worker(fit_words(options.data, folder / "a", *top), folder / "a.log"),
            without: Worker(fit_words(options.data, folder / "b", *top, *OFF), folder / "b.log"),
        }
        try:
            for worker in workers.values():
                worker.turn(options.warmup)
            turns = {name: lambda w=worker: w.turn(options.steps)[0] for name, worker in workers.items()}  # type: ignore[misc]
            rates = measure.alternate(turns, options.rounds)
        finally:
            for worker in workers.values():
                worker.end()
    found |= {f"{name}, sub-tokens/s": values for name, values in rates.items()}
    found["adapters on the top layers, times as fast"] = measure.ratio(rates, with_it, without)
    measure.report(
        found,
        kind="cache speed",
        script="cache_speed.py",
        words=words,
        record=options.record,
        config="smollm2_conll2003 cache",
        data=measure.described(options.data),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
