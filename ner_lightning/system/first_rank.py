"""Which of several ranks this process is, from the launcher's variables, before a process group exists."""

import os
from collections.abc import Mapping

# By the launchers that Lightning knows: torchrun, Lightning itself, srun, jsrun, mpirun.
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is rank 0."""
    for key in RANKS:
        if key in environment:
            also = [environment.get("NODE_RANK", "0")] if key == "LOCAL_RANK" else []
            return all(int(rank) == 0 for rank in (environment[key], *also))
    return int(environment.get("NODE_RANK", "0")) == 0
