"""Lightning callbacks that make things go wrong at a chosen moment; named in the configs of fault tests."""

import contextlib
import os
import resource
import signal
import time
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

import ner_lightning.training.loggers.wandb as wandb_logger


class FillDisk(Callback):
    """Fills the file system of a folder in some epoch, and may free it again.

    Args:
        folder: on the file system to fill.
        epoch: in which epoch, from 0.
        at: the hook that fills it.
        until: the hook that frees it.
        leave: bytes to leave.
    """

    def __init__(self, folder: str, epoch: int, at: str, until: str = "", leave: int = 0) -> None:
        self.file, self.epoch, self.leave = Path(folder) / "filling", epoch, leave
        for hook in filter(None, (at, until)):
            act = self._fill if hook == at else self._free
            setattr(self, hook, lambda trainer, *_, act=act: act(trainer))

    def _fill(self, trainer) -> None:
        if trainer.current_epoch != self.epoch or self.file.exists():
            return
        with self.file.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.truncate(self.file, max(0, self.file.stat().st_size - self.leave))

    def _free(self, trainer) -> None:
        self.file.unlink(missing_ok=True)


class BlockFile(Callback):
    """Puts a folder where a file belongs."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_start(self, trainer, pl_module) -> None:
        self.path.mkdir()


class Fail(Callback):
    """Ends one rank at a step: by an error, by SIGKILL, or by a signal of a given number.

    Args:
        step: after which step.
        how: `error`, or a signal's name.
        rank: which rank.
    """

    def __init__(self, step: int, how: str, rank: int = 0) -> None:
        self.step, self.how, self.rank = step, how, rank

    def on_train_batch_start(self, trainer, *_) -> None:
        if trainer.global_step != self.step or trainer.global_rank != self.rank:
            return
        if self.how == "error":
            raise ValueError("the reason of this rank")
        os.kill(os.getpid(), signal.Signals[self.how])


class Poison(Callback):
    """Makes a weight not a number before a step, on one rank."""

    def __init__(self, step: int, rank: int = 0) -> None:
        self.step, self.rank = step, rank

    def on_train_batch_start(self, trainer, pl_module, *_) -> None:
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            with torch.no_grad():
                pl_module.built.emitter.head.bias[1] = float("nan")


class LimitMemory(Callback):
    """Lets this process have little more memory than it has."""

    def __init__(self, step: int, more: int) -> None:
        self.step, self.more = step, more

    def on_train_batch_start(self, trainer, *_) -> None:
        if trainer.global_step == self.step:
            size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + self.more, resource.RLIM_INFINITY))

    def on_exception(self, *_) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class StopWandb(Callback):
    """Sends a signal to W&B's own process at a step, and lets the end wait for it a few seconds only."""

    def __init__(self, step: int, how: str) -> None:
        self.step, self.how = step, how
        wandb_logger.PATIENCE = 5.0

    def on_train_batch_start(self, trainer, *_) -> None:
        if trainer.global_step != self.step:
            return
        for stat in Path("/proc").glob("[0-9]*/stat"):
            name, _, rest = stat.read_text().partition(") ")
            if "(wandb" in name and int(rest.split()[1]) == os.getpid():
                os.kill(int(stat.parent.name), signal.Signals[self.how])
                time.sleep(0.2)
                return
        raise AssertionError("there is no process of W&B's")


class Slow(Callback):
    """Makes every step take longer, so that a signal can fall into one."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_start(self, *_) -> None:
        time.sleep(self.seconds)
