"""Which of several ranks this process is, from the launcher's variables, before a process group exists."""

import os
from collections.abc import Mapping


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is rank 0."""
    for keys in (("RANK",), ("LOCAL_RANK", "NODE_RANK"), ("SLURM_PROCID",)):
        if keys[0] in environment:
            return all(int(environment.get(key, "0")) == 0 for key in keys)
    return int(environment.get("NODE_RANK", "0")) == 0
