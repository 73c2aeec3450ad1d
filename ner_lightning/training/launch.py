"""Ranks that a launcher (torchrun, srun) started: how many there are, and a trainer that uses all of them."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from ner_lightning.errors import UserError
from ner_lightning.training.ranks import is_first

RUN_VARIABLE = "NER_LIGHTNING_RUN"  # names the run folder in the environment of ranks that a fit starts
_INTERACTIVE = ("bash", "interactive")  # names of SLURM jobs in which Lightning starts processes itself


class LaunchError(UserError):
    """A user's mistake that all ranks meet alike, so that the first alone says it."""


class Launch(NamedTuple):
    """Processes that were started together.

    Attributes:
        by: the launcher's command.
        ranks: how many processes there are on all nodes.
        local: how many of them are on each node.
    """

    by: str
    ranks: int
    local: int

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return self.ranks // self.local


def launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """How this process was launched: with others, or None if it is alone or a fit of ours started it.

    Raises:
        LaunchError: the processes are not the same number on each node, or Lightning would not join them.
    """
    if RUN_VARIABLE in environment:
        return None
    if "TORCHELASTIC_RUN_ID" in environment:
        ranks = int(environment.get("WORLD_SIZE", "1"))
        found = Launch("torchrun", ranks, int(environment.get("LOCAL_WORLD_SIZE", ranks)))
    elif "SLURM_STEP_NUM_TASKS" in environment:  # srun sets it; a batch script without srun is one process
        found = _by_slurm(environment)
    else:
        return None
    if found.ranks == 1:
        return None
    if found.ranks % found.local:
        raise LaunchError(
            f"{found.by} started {found.ranks} processes, not the same number on each node, which is not "
            "supported; start as many on each"
        )
    return found


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
        what the first rank is to tell the user of the change, None if there is nothing to tell.

    Raises:
        LaunchError: the strategy starts processes of its own, or `devices` names other ones.
    """
    found = launch()
    if found is None:
        return None
    strategy = trainer.strategy if isinstance(trainer.strategy, str) else str(trainer.strategy.class_path)
    if any(word in strategy for word in ("spawn", "fork", "notebook")):
        raise LaunchError(
            f"trainer.strategy {strategy} starts processes of its own, but {found.by} started "
            f"{found.ranks} already; use auto or ddp"
        )
    asked, nodes = trainer.devices, trainer.num_nodes
    named = asked if isinstance(asked, list) else str(asked).split(",") if "," in str(asked) else None
    if named is not None and len(named) != found.local:
        raise LaunchError(
            f"trainer.devices names {len(named)} devices, but {found.by} started {found.local} processes "
            "on each node; leave trainer.devices out"
        )
    trainer.num_nodes = found.nodes
    if named is None:
        trainer.devices = found.local
    unchanged = named is not None or (str(asked) in {str(found.local), "auto"} and nodes == found.nodes)
    if unchanged or not is_first():
        return None
    return (
        f"{found.by} started {found.ranks} processes: DDP uses them all (trainer.devices is {asked}); "
        "each takes batches of its own."
    )


def alone(command: str) -> None:
    """Checks that a command that works in one process was not started in several.

    Raises:
        LaunchError: it was.
    """
    found = launch()
    if found is not None:
        raise LaunchError(
            f"`ner-lightning {command}` works in one process, but {found.by} started {found.ranks}; "
            f"run it without {found.by}"
        )


@contextmanager
def isolated() -> Iterator[None]:
    """Restores environment variables and signal handlers that a command and its libraries change.

    A rank that another process started keeps the run that this process named; any other starts without one.
    """
    environment = dict(os.environ)
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
