"""Groups a stream into lists of bounded size that keep items with the same key together."""

from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
LARGEST = 4  # how many times the normal size a group may reach to keep items with one key together


def grouped(items: Iterable[tuple[Item, tuple[float, float], Hashable]]) -> Iterator[list[Item]]:
    """Groups items; each group is yielded as soon as it is known to be complete.

    Args:
        items: an item, the fractions of a group that it fills by two measures, and a key. A group that is
            full by either measure ends before the next key, or at `LARGEST` in any case. An item with the
            key None belongs to no other.
    """
    group: list[Item] = []
    first = second = 0.0
    previous: Hashable = None
    for item, (more_first, more_second), key in items:
        if group and max(first, second) >= (LARGEST if key is not None and key == previous else 1):
            yield group
            group, first, second = [], 0.0, 0.0
        group.append(item)
        first, second, previous = first + more_first, second + more_second, key
        if key is None and max(first, second) >= 1:
            yield group
            group, first, second = [], 0.0, 0.0
    if group:
        yield group
