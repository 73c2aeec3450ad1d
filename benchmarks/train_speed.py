"""Training speed beside Hugging Face's run_ner: python benchmarks/train_speed.py.

Ours is `ner-lightning fit` with the shipped recipe and a token budget, run whole: loggers, callbacks, all.
The baseline (run_ner.py beside this file) runs at batch 8 and 32, with random batches and with batches
grouped by length; the batch that is faster in a short warm-up then takes turns with ours, some steps each, in
alternating order.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import measure
from lockstep import HERE, Worker

OURS = "ner-lightning fit"
WARMUP = 12  # steps before the first turn; long enough to compile for all shapes


def fit_words(data: Path, folder: Path, *options: str) -> list[str]:
    """The command line of a training of ours that takes turns."""
    return [
        *("-m", "ner_lightning", "fit", "--config", measure.RECIPE, *options),
        *("--data.dataset", str(data), "--runs", str(folder), "--trainer.max_epochs", "100"),
        *("--trainer.callbacks+=lockstep.Lockstep",),
    ]


def run_ner_words(data: Path, batch: int, *options: str) -> list[str]:
    """The command line of the baseline, which takes turns as well."""
    return [str(HERE / "run_ner.py"), "--data", str(data), "--batch", str(batch), *options]


def take_turns(workers: dict[str, Worker], rounds: int, steps: int) -> measure.Rounds:
    """Sub-tokens a second of each training, round by round."""
    return measure.alternate(
        {name: lambda w=worker: w.turn(steps)[0] for name, worker in workers.items()},  # type: ignore[misc]
        rounds,
    )


def fastest_baselines(
    options: argparse.Namespace, shared: list[str], folder: Path
) -> tuple[dict[str, list[str]], measure.Rounds]:
    """The command of the faster batch of each kind of sampling, and how fast all of them were."""
    commands = {}
    for kind in ("random", "grouped"):
        for batch in (8, 32):
            grouped = ["--grouped"] if kind == "grouped" else []
            command = run_ner_words(options.data, batch, *shared, *grouped)
            commands[f"run_ner, {kind} batches of {batch}"] = command
    rates = {}
    # One at a time: grouped batches begin with the longest, which take most of a small machine's memory.
    for label, command in commands.items():
        worker = Worker(command, folder / "log")
        rates[label] = worker.turn(options.warmup)[0]
        worker.end()
        print(f"{label:40} {rates[label]:10.2f} sub-tokens/s", flush=True)
    for kind in ("random", "grouped"):
        del commands[min((label for label in commands if kind in label), key=rates.__getitem__)]
    return commands, {f"{label}, warm-up, sub-tokens/s": [rate] for label, rate in rates.items()}


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument("--backbone", help="instead of the recipe's, on both sides")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--warmup", type=int, default=WARMUP)
    parser.add_argument("--no-compile", action="store_true")
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    ours = ["--config", measure.BUDGET]
    shared = []
    if options.backbone:
        ours += ["--model.backbone", options.backbone]
        shared = ["--backbone", options.backbone]
    if options.no_compile:
        ours += ["--model.runtime.compile", "false"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands, found = fastest_baselines(options, shared, folder)
        commands[OURS] = fit_words(options.data, folder, *ours)
        workers: dict[str, Worker] = {}
        try:
            for number, label in enumerate(sorted(commands, key=lambda label: "grouped" not in label)):
                workers[label] = Worker(commands[label], folder / f"log{number}")
                workers[label].turn(options.warmup)
            rates_by_round = take_turns(workers, options.rounds, options.steps)
        finally:
            for worker in workers.values():
                worker.end()
    for label, values in rates_by_round.items():
        found[f"{label}, sub-tokens/s"] = values
        if label != OURS:
            kind = "its own grouping by length" if "grouped" in label else "run_ner as it comes"
            found[f"{OURS}, times {kind}"] = measure.ratio(rates_by_round, OURS, label)
    measure.report(
        found,
        kind="training speed",
        script="train_speed.py",
        words=words,
        record=options.record,
        config="smollm2_conll2003 token_budget",
        data=measure.described(options.data),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
