"""Training speed beside Hugging Face's run_ner: python benchmarks/train_speed.py.

Ours is `ner-lightning fit` with the shipped recipe and a token budget, run whole: loggers, callbacks, all.
The baseline (run_ner.py beside this file) has batches of 8 and of 32, random ones and ones grouped by length.
Each round measures every side, in alternating order; of the baseline's batches that one counts which has the
better median. A side is a process of its own, and but for ours one that ends with its turn, since all of them
together do not fit into a small machine's memory. A turn of 50 steps is one of the groups that the baseline
sorts by length, so that it has sentences of all lengths.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import measure
from lockstep import HERE, Worker

OURS = "ner-lightning fit"
UNCOMPILED = "ner-lightning fit, not compiled"
WARMUP = 12  # steps before the first turn; long enough to compile for all shapes
# How the baseline makes its batches, and what it is called then.
KINDS = {"random": "run_ner as it comes", "grouped": "its own grouping by length"}


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


class Sides:
    """The sides of the comparison.

    Args:
        options: parsed.
        folder: for logs and runs.

    Attributes:
        starts: seconds that the first steps took, by side, of each process that was begun.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        self.starts: measure.Rounds = {OURS: [], UNCOMPILED: []}
        self._ours: Worker | None = None

    def commands(self) -> dict[str, list[str]]:
        """The command of each side."""
        options, shared = self._options, []
        ours = ["--config", measure.BUDGET]
        if options.backbone:
            ours += ["--model.backbone", options.backbone]
            shared = ["--backbone", options.backbone]
        slow = [*ours, "--model.runtime.compile", "false"]
        found = {UNCOMPILED: fit_words(options.data, self._folder, *slow)}
        if not options.no_compile:
            found[OURS] = fit_words(options.data, self._folder, *ours)
        for kind in KINDS:
            for batch in (8, 32):
                grouped = ["--grouped"] if kind == "grouped" else []
                command = run_ner_words(options.data, batch, *shared, *grouped)
                found[f"run_ner, {kind} batches of {batch}"] = command
        return found

    def turn(self, side: str, command: list[str]) -> float:
        """Real sub-tokens a second of a side, in one turn."""
        worker = self._ours if side == OURS else None
        if worker is None:
            worker = self._begun(side, command)
        rate = worker.turn(self._options.steps)[0]
        if side == OURS:  # compiling takes longer than a turn, so that it goes on
            self._ours = worker
        else:
            worker.end()
        return rate

    def _begun(self, side: str, command: list[str]) -> Worker:
        worker = Worker(command, self._folder / "log")
        warmup = WARMUP if side in self.starts else 2
        seconds = worker.turn(warmup)[1] * warmup
        if side in self.starts:
            self.starts[side].append(seconds)
        return worker

    def end(self) -> None:
        """Ends what still runs."""
        if self._ours is not None:
            self._ours.end()


def compared(rates: measure.Rounds) -> measure.Rounds:
    """Ours over the baseline's better batches of each kind, round by round."""
    ours = OURS if OURS in rates else UNCOMPILED
    found = {}
    for kind, called in KINDS.items():
        best = max((side for side in rates if kind in side), key=lambda side: statistics.median(rates[side]))
        found[f"{ours}, times {called}"] = measure.ratio(rates, ours, best)
    return found


def paid_back(rates: measure.Rounds, starts: measure.Rounds, tokens: float) -> measure.Rounds:
    """After how many steps compiling has saved the seconds that it took.

    Args:
        rates: sub-tokens a second by side.
        starts: seconds of the first steps.
        tokens: sub-tokens of a step.
    """
    if not (starts[OURS] and starts[UNCOMPILED]):
        return {}
    cost = starts[OURS][0] - statistics.median(starts[UNCOMPILED])
    pairs = zip(rates[UNCOMPILED], rates[OURS], strict=True)
    saved = statistics.median(tokens / slow - tokens / fast for slow, fast in pairs)
    return {
        "compiling, seconds": [cost],
        "compiling, steps until it has paid": [cost / saved],
        f"{OURS}, times not compiled": measure.ratio(rates, OURS, UNCOMPILED),
    }


def main(args: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=measure.DATA)
    parser.add_argument("--backbone", help="instead of the recipe's, on both sides")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--no-compile", action="store_true", help="leave out our compiled side")
    parser.add_argument("--kept", type=Path, help="keeps each turn in this file, and goes on from it")
    measure.add_record_option(parser)
    words = list(sys.argv[1:] if args is None else args)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as name:
        sides = Sides(options, Path(name))
        calls = {
            side: lambda side=side, command=command: sides.turn(side, command)  # type: ignore[misc]
            for side, command in sides.commands().items()
        }
        try:
            rates = measure.alternate(calls, options.rounds, options.kept)
        finally:
            sides.end()
    found = {f"{side}, sub-tokens/s": values for side, values in rates.items()}
    found |= compared(rates) | paid_back(rates, sides.starts, measure.budget())
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
