"""Cuts a stream into groups of bounded size that keep what belongs together."""

from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
FURTHEST = 4  # groups' worth that things with one key may fill


def grouped(items: Iterable[tuple[Item, tuple[float, float], Hashable]]) -> Iterator[list[Item]]:
    """Things in groups, each given out as soon as it is known to be complete.

    Args:
        items: a thing, the shares of a group that it takes by two measures, and a key. A group that is full
            by either ends before the next key, or at `FURTHEST` in any case; None is the key of what
            belongs to nothing else.
    """
    group: list[Item] = []
    one = other = 0.0
    last: Hashable = None
    for item, (more, further), key in items:
        if group and max(one, other) >= (FURTHEST if key is not None and key == last else 1):
            yield group
            group, one, other = [], 0.0, 0.0
        group.append(item)
        one, other, last = one + more, other + further, key
        if key is None and max(one, other) >= 1:
            yield group
            group, one, other = [], 0.0, 0.0
    if group:
        yield group
