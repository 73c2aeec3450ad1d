"""States of the random generators on every rank, for checkpoints that resume exactly."""

from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor

T = TypeVar("T")
State = dict[str, Tensor]


def random_states() -> list[State]:
    """Each rank's state, by rank; all ranks must call this together.

    That of CUDA only where it is used: to ask for it would start CUDA, which takes memory of the GPU.
    """
    mine = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        mine["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        mine["mps"] = torch.mps.get_rng_state()
    return gathered(mine)


def gathered(mine: T) -> list[T]:
    """What each rank gives, by rank; all ranks must call this together."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    each: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(each, mine)
    return each


def restore_random_state(states: list[State], rank: int) -> None:
    """Restores this rank's state; additional ranks of a resumed run keep theirs."""
    if rank >= len(states):
        return
    torch.set_rng_state(states[rank]["cpu"])
    if "cuda" in states[rank] and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.set_rng_state(states[rank]["cuda"])
    if "mps" in states[rank] and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states[rank]["mps"])
