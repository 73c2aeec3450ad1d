"""The state of dropout's random numbers on every rank, for checkpoints that continue exactly."""

from typing import Any

import torch
import torch.distributed
from torch import Tensor

State = dict[str, Tensor]


def random_states() -> list[State]:
    """Each rank's state, in order of rank; all ranks must ask together."""
    mine = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        mine["cuda"] = torch.cuda.get_rng_state()
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, mine)
    return states


def restore_random_state(states: list[State], rank: int) -> None:
    """Puts this rank's random numbers where they were.

    A run that continues on more ranks than before leaves the new ones as they are.
    """
    if rank >= len(states):
        return
    torch.set_rng_state(states[rank]["cpu"])
    if "cuda" in states[rank] and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[rank]["cuda"])
