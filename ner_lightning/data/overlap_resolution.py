"""Entities that share words: which of them a greedy choice, the most probable first, leaves out."""

from collections.abc import Sequence


def overlapped(spans: Sequence[tuple[int, int]], priorities: Sequence[float]) -> list[bool]:
    """Whether each entity shares words with one that is chosen before it.

    In order of priority, of equal ones the first, each entity is chosen that shares no word with those chosen
    before. So those that are not overlapped share no words, and each of the others shares words with one of
    them that has at least its priority.

    Args:
        spans: first word, and one past the last word.
        priorities: of each, such as its probability.

    Example:
        >>> overlapped([(0, 2), (1, 3), (2, 4)], [0.5, 0.4, 0.1])
        [False, True, False]
    """
    taken: set[int] = set()
    result = [False] * len(spans)
    for index in sorted(range(len(spans)), key=lambda index: -priorities[index]):
        words = range(*spans[index])
        result[index] = not taken.isdisjoint(words)
        if not result[index]:
            taken.update(words)
    return result
