"""Whether all ranks train and score the same: data, types, settings and version."""

from collections.abc import Iterator, Mapping
from typing import Any

from ner_lightning.training.launch import LaunchError
from ner_lightning.training.randomness import gathered


def check_ranks_agree(plans: Mapping[str, Any]) -> None:
    """Compares what the ranks are about to do; all ranks must call this together.

    A node may have an older copy of a file or of the package, or its own options; nothing else would say so.

    Args:
        plans: what this rank reads and which settings it has, as plain values.

    Raises:
        LaunchError: a rank differs from the first one.
    """
    first, *others = map(dict, map(_flat, gathered(plans)))
    for rank, other in enumerate(others, start=1):
        for key in first | other:
            if other.get(key) != first.get(key):
                raise LaunchError(
                    f"the ranks differ in {key}: {other.get(key)!r:.90} on rank {rank}, "
                    f"{first.get(key)!r:.90} on rank 0.\nGive all ranks the same files, options and versions."
                )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
