"""Launch: ranks that torchrun or srun started, a trainer that uses them all, and an isolated process."""

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

from ner_lightning.errors import UserError
from ner_lightning.system.first_rank import is_first, is_only
from ner_lightning.system.progress import stage
from ner_lightning.system.terminal import counted

RUN_VARIABLE = "NER_LIGHTNING_RUN"  # names the run folder in the environment of ranks that a fit starts
_INTERACTIVE = ("bash", "interactive")  # names of SLURM jobs in which Lightning starts processes itself


class LaunchError(UserError):
    """A user's mistake that all ranks meet alike, so that only the first one reports it."""


class Launch(NamedTuple):
    """Processes that were started together."""

    by: str  # the launcher's command
    ranks: int  # processes on all nodes
    local: int  # processes on each node


def launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """How this process was launched with others; None if it runs by itself, or a fit of ours started it.

    Raises:
        LaunchError: the processes are not the same number on each node, or Lightning would not join them.
    """
    if RUN_VARIABLE in environment:
        return None
    if "TORCHELASTIC_RUN_ID" in environment:
        ranks = int(environment.get("WORLD_SIZE", "1"))
        launched = Launch("torchrun", ranks, int(environment.get("LOCAL_WORLD_SIZE", ranks)))
    elif "SLURM_STEP_NUM_TASKS" in environment:  # set by srun only
        launched = _by_slurm(environment)
    else:
        return None
    if launched.ranks == 1:
        return None
    if launched.ranks % launched.local:
        raise LaunchError(
            f"{launched.by} started {launched.ranks} processes, not the same number on each node; "
            "start as many on each"
        )
    return launched


def _by_slurm(environment: Mapping[str, str]) -> Launch:
    ranks = int(environment["SLURM_STEP_NUM_TASKS"])
    nodes = int(environment.get("SLURM_STEP_NUM_NODES", environment.get("SLURM_NNODES", "1")))
    if ranks > 1 and environment.get("SLURM_JOB_NAME") in _INTERACTIVE:
        raise LaunchError(
            f"srun started {ranks} tasks in a job named {environment['SLURM_JOB_NAME']}, where Lightning "
            "does not join them; name the job otherwise: --job-name ner"
        )
    if ranks > 1 and "SLURM_NTASKS_PER_NODE" not in environment:
        raise LaunchError(
            f"srun started {ranks} tasks without saying how many belong on each node; "
            f"start them with --ntasks-per-node {-(-ranks // nodes)}"
        )
    return Launch("srun", ranks, int(environment.get("SLURM_NTASKS_PER_NODE", ranks)))


def use_all_ranks(trainer: Any) -> str | None:
    """Makes a trainer use the processes that a launcher started.

    Args:
        trainer: the parsed options of the trainer; `devices` and `num_nodes` in it are changed.

    Returns:
        a line about the change for the first rank to print, or None.

    Raises:
        LaunchError: the strategy starts processes of its own, `devices` names other ones, or nothing started
            the tasks of a SLURM job.
    """
    from ner_lightning.model.devices import named_devices  # needs torch, which other commands do not

    launched = launch()
    if launched is None:
        _check_batch_job(trainer)
        return None
    strategy = trainer.strategy if isinstance(trainer.strategy, str) else str(trainer.strategy.class_path)
    if any(word in strategy for word in ("spawn", "fork", "notebook")):
        raise LaunchError(
            f"trainer.strategy {strategy} starts processes of its own, but {launched.by} started "
            f"{launched.ranks} already; use auto or ddp"
        )
    asked, asked_nodes, nodes = trainer.devices, trainer.num_nodes, launched.ranks // launched.local
    named = named_devices(asked)
    if named is not None and len(named) != launched.local:
        raise LaunchError(
            f"trainer.devices names {len(named)} devices, but {launched.by} started {launched.local} "
            "processes on each node; leave trainer.devices out"
        )
    trainer.num_nodes = nodes
    if named is None:
        trainer.devices = launched.local
    unchanged = named is not None or (str(asked) in {str(launched.local), "auto"} and asked_nodes == nodes)
    if unchanged or not is_first():
        return None
    return (
        f"{launched.by} started {launched.ranks} processes: DDP uses them all (trainer.devices is {asked}); "
        "each takes batches of its own."
    )


def _check_batch_job(trainer: Any) -> None:
    """Refuses several devices in a SLURM job without srun: Lightning takes it for one of srun's processes.

    Raises:
        LaunchError: the job has several tasks, or several devices are asked for.
    """
    environment = os.environ
    ours = RUN_VARIABLE in environment or "TORCHELASTIC_RUN_ID" in environment
    if ours or "SLURM_NTASKS" not in environment or environment.get("SLURM_JOB_NAME") in _INTERACTIVE:
        return
    tasks, devices = int(environment["SLURM_NTASKS"]), _count(trainer.devices, str(trainer.accelerator))
    if max(tasks, devices, trainer.num_nodes) > 1:
        raise LaunchError(
            f"the SLURM job has {counted(tasks, 'task')}, of which Lightning would be one, and "
            f"trainer.devices is {trainer.devices}: start one process for each device with srun and "
            f"--ntasks-per-node {devices}, or let Lightning start them: --job-name interactive"
        )


def check_processes(trainer: Any) -> None:
    """Checks that a Lightning trainer does not fork or spawn processes: a run's files are not written so.

    Lightning chooses that by itself for several devices in a notebook.

    Raises:
        UserError: it does.
    """
    from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise UserError(
            f"{trainer.num_devices} processes that are forked or spawned are not supported: set "
            "trainer.strategy to ddp;\nin a notebook set trainer.devices to 1, or start `!ner-lightning`"
        )


def _count(devices: Any, accelerator: str) -> int:
    """How many devices of a machine a trainer uses."""
    import torch

    from ner_lightning.model.devices import named_devices

    if (named := named_devices(devices)) is not None:
        return len(named)
    if str(devices) not in ("auto", "-1"):
        return int(devices)
    return torch.cuda.device_count() if accelerator != "cpu" else 1


def require_single_process(command: str) -> None:
    """Checks that a command that works in one process was not started in several.

    Raises:
        LaunchError: it was.
    """
    launched = launch()
    if launched is not None:
        raise LaunchError(
            f"`ner-lightning {command}` works in one process, but {launched.by} started {launched.ranks}; "
            f"run it without {launched.by}"
        )


@contextmanager
def isolated() -> Iterator[None]:
    """Restores environment variables, signal handlers and random states that a command and libraries change.

    A rank that another process started keeps the run that this process named; any other starts without one.
    """
    environment = dict(os.environ)
    generators = _random_states()
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    if is_first():
        os.environ.pop(RUN_VARIABLE, None)
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None and signal.getsignal(number) != handler:
                    signal.signal(number, handler)
        for restore in generators:
            with suppress(RuntimeError):  # of CUDA, after an error of its own, which must be seen
                restore()


def _random_states() -> list[Callable[[], None]]:
    """What puts the global generators back, of those libraries that are imported already."""
    restores: list[Callable[[], None]] = [partial(random.setstate, random.getstate())]
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        restores.append(partial(numpy.random.set_state, numpy.random.get_state()))
    if torch is not None:
        restores.append(partial(torch.set_rng_state, torch.get_rng_state()))
        if torch.cuda.is_initialized():  # which asking would do
            restores.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
        if torch.backends.mps.is_available():
            restores.append(partial(torch.mps.set_rng_state, torch.mps.get_rng_state()))
    return restores


def drawn_seed() -> int:
    """A seed that is drawn, the same one on all ranks that this process starts; Lightning would take 0.

    Raises:
        UserError: the ranks were started each by itself, so that none can tell the others.
    """
    given = os.environ.get("PL_GLOBAL_SEED") if "LOCAL_RANK" in os.environ else None  # by the first process
    if given is None and not is_only():
        raise UserError("seed_everything is true, but each rank would draw another seed; name a number")
    seed = random.SystemRandom().randrange(2**31) if given is None else int(given)
    stage(f"seed_everything is {seed}, which was drawn.")
    return seed
