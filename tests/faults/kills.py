"""Kills training runs with SIGKILL, continues them, and compares them with one that never stopped.

Each run is a process of its own, forked from this one so that it starts at once. A kill falls at a
random moment between the first step and the last checkpoint; or, planned, inside the writing of a
checkpoint (at one of the writes, before or after the flush) or inside validation. `python
tests/faults/kills.py --kills 50` prints where each fell and what came of it.
"""

import argparse
import json
import mmap
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import forks
import tiny
import torch
import yaml

import ner_lightning.system.atomic
from ner_lightning.training.callbacks import checkpoints
from ner_lightning.training.callbacks.throughput import MEASURED
from ner_lightning.training.module import NERModule

EPOCHS = 3
KINDS = ("random", "checkpoint", "validation", "random")  # in turn
VARIANTS = {
    "every epoch": [],
    "every 3 steps": ["--checkpoint_every_n_steps", "3"],
    "every step, accumulating": [
        "--checkpoint_every_n_steps=1",
        "--trainer.accumulate_grad_batches=3",
        "--data.batches.size=2",
    ],
}
RUN_KEYS = ("epochs", "steps", "seed", "types", "parameters", "trained_parameters", "wandb_id")


@dataclass
class Reference:
    """A run that never stopped, and what a kill can be planned by."""

    run: Path
    seconds: float  # from the first step to the last checkpoint
    validations: int
    writes: list[tuple[str, int]] = field(default_factory=list)  # checkpoint, calls of write


class Place:
    """Where a run is at the moment, in memory that it shares with the process that kills it."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 4096)
        self.read_end, self.write_end = os.pipe()
        self.steps = self.validations = self.saves = 0
        self.writes: list[tuple[str, int]] = []

    def set(self, text: str) -> None:
        self.memory[:256] = text.encode()[:256].ljust(256)

    def get(self) -> str:
        return self.memory[:256].decode().strip()

    def tell(self, letter: bytes) -> None:
        os.write(self.write_end, letter)

    def stop(self, text: str) -> None:
        """Waits to be killed."""
        self.set(text)
        self.tell(b"K")
        time.sleep(120)


def watch(place: Place, plan: dict[str, object], told: Path) -> None:  # noqa: C901  (six small hooks)
    """Makes this process say where it is, wait at the planned place, and note what it did."""
    train, validate, write = NERModule.training_step, NERModule.validation_step, checkpoints.write_checkpoint
    sink_write, fsync = checkpoints._Sink.write, os.fsync
    current = {"name": "", "calls": 0}

    def training_step(self, batch):
        if place.steps == 0:
            place.tell(b"S")
        place.steps += 1
        place.set(f"training batch {place.steps}, after step {self.global_step}")
        return train(self, batch)

    def validation_step(self, batch):
        place.validations += 1
        where = f"validation, batch {place.validations} in all, after step {self.global_step}"
        place.set(where)
        if plan.get("validation") == place.validations:
            place.stop(where)
        done = validate(self, batch)
        place.set(where + ", done")
        return done

    def write_checkpoint(checkpoint, path):
        place.saves += 1
        current.update(name=path.name, calls=0)
        place.set(f"checkpoint {path.name}, number {place.saves}, before its first byte")
        write(checkpoint, path)
        place.writes.append((path.name, current["calls"]))
        place.set(f"after checkpoint {path.name}, number {place.saves}")
        current["name"] = ""
        told.write_text(json.dumps({"writes": place.writes, "validations": place.validations}))

    def counted(self, data):
        current["calls"] += 1
        where = f"checkpoint {current['name']}, number {place.saves}, write {current['calls']}"
        place.set(where)
        if plan.get("checkpoint") == (place.saves, current["calls"]):
            half = bytes(data)[: max(1, len(bytes(data)) // 2)]
            sink_write(self, half)
            self.flush()
            place.stop(where + ", half of it")
        return sink_write(self, data)

    def flushed(number):
        if current["name"]:
            where = f"checkpoint {current['name']}, number {place.saves}, "
            if plan.get("checkpoint") == (place.saves, "before flush"):
                place.stop(where + "written, not flushed")
            fsync(number)
            place.set(where + "flushed")
            if plan.get("checkpoint") == (place.saves, "after flush"):
                place.stop(where + "flushed, not renamed")
        else:
            fsync(number)

    NERModule.training_step, NERModule.validation_step = training_step, validation_step
    checkpoints.write_checkpoint = write_checkpoint
    checkpoints._Sink.write = counted
    ner_lightning.system.atomic.os.fsync = flushed


def start(folder: Path, words: list[str], log: Path, place: Place, plan: dict[str, object]) -> int:
    """Starts the command in a process of its own and returns its number."""

    def before(rank: int) -> None:
        watch(place, plan, log.with_suffix(".json"))

    return forks.start(folder, words, log, before)[0]


def prepare(folder: Path) -> list[str]:
    """A small model and corpus, and the options that train the one on the other."""
    model = tiny.write_llama(folder / "llama")
    data = tiny.write_corpus(folder / "data")
    (data / "valid.txt").write_text((data / "train.txt").read_text()[:900].rpartition("\n\n")[0] + "\n")
    config = {
        "seed_everything": 3,
        "trainer": {"accelerator": "cpu", "max_epochs": EPOCHS, "log_every_n_steps": 1},
        "model": {
            "backbone": str(model),
            "lora": {"rank": 4},
            "optimizer": {"lr": 0.01, "averaging": 0.2},
            "architecture": {"dropout": 0.2},
        },
        "data": {"dataset": str(data), "batches": {"size": 4, "eval_size": 2}},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config))
    return ["fit", "--config", "recipe.yaml"]


def reference(folder: Path, words: list[str], name: str) -> Reference:
    """Runs a variant to its end."""
    place, log = Place(), folder / f"{name}.log"
    process = start(folder, [*words, "--name", name], log, place, {})
    os.read(place.read_end, 1)  # the first step
    begun = time.monotonic()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    seconds = time.monotonic() - begun
    assert code == 0, log.read_text()
    told = json.loads(log.with_suffix(".json").read_text())
    writes = [(name, calls) for name, calls in told["writes"]]
    return Reference(folder / "runs" / name / "1", seconds, told["validations"], writes)


def differences(one: Path, other: Path) -> list[str]:
    """What of two runs is not the same, bit by bit."""
    found = [f"{name} differs" for name in ("metrics.csv", "metrics.json") if not same_file(one, other, name)]
    for kind in ("jsonl", "conll"):
        if not same_file(one, other, f"predictions.valid.{kind}"):
            found.append(f"predictions.valid.{kind} differs")
    about = [json.loads((run / "run.json").read_text()) for run in (one, other)]
    found += [f"run.json: {key}" for key in RUN_KEYS if about[0].get(key) != about[1].get(key)]
    steps = [line.partition(",")[0] for line in (other / "metrics.csv").read_text().splitlines()]
    found += ["a step stands twice in metrics.csv"] * (len(steps) != len(set(steps)))
    for name in ("best", "last"):
        held = [torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for run in (one, other)]
        for part in (
            "state_dict",
            "optimizer_states",
            "lr_schedulers",
            "global_step",
            "epoch",
            "random_states",
            "averaged",
        ):
            if not equal(held[0][part], held[1][part]):
                found.append(f"{name}.ckpt: {part}")
    left = {p.name for p in other.rglob("*")} - {p.name for p in one.rglob("*")}
    return found + [f"{name} is left" for name in sorted(left)]


def same_file(one: Path, other: Path, name: str) -> bool:
    if name == "metrics.csv":
        return same_table(*((run / name).read_text(encoding="utf-8").splitlines() for run in (one, other)))
    return (one / name).read_bytes() == (other / name).read_bytes()


def same_table(one: list[str], other: list[str]) -> bool:
    """Whether two tables hold the same text, but for what the machine's speed and memory are."""
    columns = one[0].split(",")
    kept = [place for place, column in enumerate(columns) if column not in MEASURED]
    cells = ([[row.split(",")[place] for place in kept] for row in rows] for rows in (one, other))
    return one[0] == other[0] and next(cells) == next(cells)


def equal(one: object, other: object) -> bool:
    """Deep equality; tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(equal(one[k], other[k]) for k in one)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def plan_of(kind: str, held: Reference, draw: random.Random) -> dict[str, object]:
    """Where a planned kill shall fall."""
    if kind == "validation":
        return {"validation": draw.randint(1, held.validations)}
    if kind == "checkpoint":
        number = draw.randint(1, len(held.writes))
        calls = held.writes[number - 1][1]
        return {
            "checkpoint": (number, draw.choice([*range(1, calls + 1), *["before flush", "after flush"] * 10]))
        }
    return {}


def kill(folder: Path, words: list[str], held: Reference, name: str, kind: str, draw: random.Random) -> str:
    """Starts a run, kills it, and returns where that fell."""
    while True:
        place, log = Place(), folder / f"{name}.log"
        process = start(folder, [*words, "--name", name], log, place, plan_of(kind, held, draw))
        first = os.read(place.read_end, 1)
        assert first == b"S", log.read_text()
        wait = draw.uniform(0, held.seconds) if kind == "random" else 120.0
        select.select([place.read_end], [], [], wait)
        os.kill(process, signal.SIGKILL)
        status = os.waitpid(process, 0)[1]
        where = place.get()
        if os.WIFSIGNALED(status) and not where.startswith(
            f"after checkpoint last.ckpt, number {len(held.writes)}"
        ):
            return where
        # It had come to its end: once more.
        (folder / "runs" / name).rename(folder / f"ended-{time.monotonic_ns()}")


def group(where: str) -> str:
    """The kind of place a kill fell in."""
    return next((k for k in ("checkpoint", "validation", "training") if where.startswith(k)), "between")


def campaign(folder: Path, numbers: range, seed: int = 0, say=print) -> Counter[str]:
    """Kills and continues runs; raises if one of them ends otherwise than one that never stopped."""
    words = prepare(folder)
    held: dict[str, Reference] = {}
    fell: Counter[str] = Counter()
    for number in numbers:
        draw = random.Random(f"{seed} {number}")
        variant = list(VARIANTS)[number % len(VARIANTS)]
        options = [*words, *VARIANTS[variant]]
        if variant not in held:
            held[variant] = reference(folder, options, f"whole{number % len(VARIANTS)}")
        name, kind = f"killed{number}", KINDS[number % len(KINDS)]
        where = kill(folder, options, held[variant], name, kind, draw)
        run = folder / "runs" / name / "1"
        drafts = [p.name for p in run.rglob(".*.tmp")]
        whole = sorted(p.stem for p in (run / "checkpoints").glob("*.ckpt"))
        log = folder / f"{name}.again.log"
        process = start(folder, ["fit", "--run", str(run), "--ckpt_path", "last"], log, Place(), {})
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        found = differences(held[variant].run, run) if code == 0 else [f"exit code {code}", log.read_text()]
        fell[group(where)] += 1
        state = f"whole: {', '.join(whole) or 'none'}; drafts: {len(drafts)}"
        say(f"{number:>3} ({variant}) fell in {where} ({state}): {'; '.join(found) or 'identical'}")
        if found:
            raise AssertionError(f"kill {number}: {found}; see {folder}")
    return fell


def run(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="number of the first kill")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        numbers = range(options.first, options.first + options.kills)
        fell = campaign(Path(folder), numbers, options.seed, lambda line: print(line, flush=True))
    print(f"{fell.total()} of {fell.total()} identical; fell in: {dict(fell)}")
    return 0


if __name__ == "__main__":
    sys.exit(run())
