"""Which of several ranks this process is, from the launcher's variables, before a process group exists."""

import os
from collections.abc import Mapping

# Rank and number of ranks by the launchers that Lightning joins: torchrun, itself, srun, jsrun. Processes of
# mpirun it joins only with mpi4py; without, each is a training of its own.
RANKS = {
    "RANK": "WORLD_SIZE",
    "LOCAL_RANK": "WORLD_SIZE",
    "SLURM_PROCID": "SLURM_STEP_NUM_TASKS",
    "JSM_NAMESPACE_RANK": "JSM_NAMESPACE_SIZE",
}


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is rank 0."""
    for key in RANKS:
        if key in environment:
            also = [environment.get("NODE_RANK", "0")] if key == "LOCAL_RANK" else []
            return all(int(rank) == 0 for rank in (environment[key], *also))
    return int(environment.get("NODE_RANK", "0")) == 0


def is_only() -> bool:
    """Whether no launcher started this process as one of several."""
    alone = {"SLURM_PROCID": "1"}  # set in a batch script, too, which srun did not start
    sizes = (os.environ.get(size, alone.get(rank)) for rank, size in RANKS.items() if rank in os.environ)
    return all(size == "1" for size in sizes)
