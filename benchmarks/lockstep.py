"""Several trainings that take turns: each runs some steps when it is told to, and says how fast it was.

A training is a process of its own; it talks through the two pipes named in LOCKSTEP. Counted are real
sub-tokens, without padding and special tokens; validation between two epochs is not.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

VARIABLE = "LOCKSTEP"
HERE = Path(__file__).parent


class Turns:
    """The training's side: waits for its turn, runs a number of steps, reports, and so on."""

    def __init__(self) -> None:
        ask, answer = map(int, os.environ[VARIABLE].split(","))
        self._ask: IO[str] = os.fdopen(ask)
        self._answer: IO[str] = os.fdopen(answer, "w")
        self._left = 0
        self._tokens = 0
        self._began = 0.0
        self._total = 0

    def before_step(self) -> None:
        """Waits, at the first step of a turn."""
        if self._left == 0:
            word = self._ask.readline()
            if not word:
                os._exit(0)  # the other side has all that it wanted
            self._left = self._total = int(word)
            self._tokens, self._began = 0, time.perf_counter()

    def after_step(self, tokens: int) -> None:
        """Counts a step, and reports the last one of a turn."""
        self._tokens += tokens
        self._left -= 1
        if self._left == 0:
            seconds = time.perf_counter() - self._began
            memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
            self._answer.write(json.dumps([self._tokens / seconds, seconds / self._total, memory]) + "\n")
            self._answer.flush()

    def skip(self, seconds: float) -> None:
        """Takes out time that was no training."""
        self._began += seconds


class Lockstep(Callback):
    """Makes a Lightning training take turns."""

    def __init__(self) -> None:
        self._turns = Turns()
        self._stopped = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Waits for a turn."""
        self._turns.before_step()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Counts real sub-tokens; one a row is special."""
        windows = int((batch.positions == 0).sum()) if batch.positions is not None else len(batch.input_ids)
        self._turns.after_step(int(batch.attention_mask.sum()) - windows)

    def on_validation_start(self, *_: Any) -> None:
        """Stops the clock."""
        self._stopped = time.perf_counter()

    def on_train_epoch_start(self, *_: Any) -> None:
        """Goes on counting."""
        if self._stopped:
            self._turns.skip(time.perf_counter() - self._stopped)
            self._stopped = 0.0


class Worker:
    """The measuring side of a training.

    Args:
        words: the command line of a Python program that makes its training take turns.
        log: where its output goes.

    Attributes:
        memory: the most bytes of a GPU that it had allocated by its last turn.
    """

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self.memory = 0
        ask, self._ask = os.pipe()
        self._answer, answer = os.pipe()
        environment = os.environ | {VARIABLE: f"{ask},{answer}", "PYTHONPATH": os.pathsep.join(_path())}
        self._log = log
        with log.open("w", encoding="utf-8") as stream:
            self.process = subprocess.Popen(
                [sys.executable, *words],
                pass_fds=(ask, answer),
                env=environment,
                stdout=stream,
                stderr=stream,
            )
        os.close(ask)
        os.close(answer)
        self._reader = os.fdopen(self._answer)

    def turn(self, steps: int) -> tuple[float, float]:
        """Lets it run some steps: sub-tokens a second, seconds a step."""
        os.write(self._ask, f"{steps}\n".encode())
        line = self._reader.readline()
        if not line:
            tail = self._log.read_text(encoding="utf-8")[-2000:]
            code = self.process.wait()
            raise RuntimeError(f"a training ended ({code}) before its turn; its log ends with:\n{tail}")
        rate, seconds, self.memory = json.loads(line)
        return rate, seconds

    def end(self) -> None:
        """Ends it."""
        os.close(self._ask)
        self._reader.close()
        self.process.kill()
        self.process.wait()


def _path() -> list[str]:
    return [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
