"""Splits long sentences into overlapping windows, and documents into passages of whole sentences."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def windows(starts: Ints, capacity: int, overlap: int) -> list[tuple[int, int]]:
    """Splits a sentence into overlapping windows of whole words.

    Args:
        starts: index of each word's first sub-token, and at the end their number. *Shape:* (W + 1,)
        capacity: the most sub-tokens in a window; no word is longer.
        overlap: sub-tokens shared with the window before, as far as words and progress permit.

    Returns:
        Word ranges (low, high), high exclusive; together they cover every word.
    """
    count = len(starts) - 1
    ranges: list[tuple[int, int]] = []
    low = 0
    while True:
        high = int(np.searchsorted(starts, starts[low] + capacity, side="right")) - 1
        ranges.append((low, high))
        if high >= count:
            return ranges
        back = int(np.searchsorted(starts, starts[high] - overlap))
        # The next window must contain the word after this one, or the loop would not end.
        reach = int(np.searchsorted(starts, starts[high + 1] - capacity))
        low = max(low + 1, reach, min(back, high))


def owners(ranges: Sequence[tuple[int, int]], count: int) -> Ints:
    """The window of each word: of two that share it, the one with more context around it. *Shape:* (W,)."""
    owner = np.zeros(count, dtype=np.int64)
    for number, ((_, high), (low, _)) in enumerate(pairwise(ranges), start=1):
        owner[(low + high + 1) // 2 :] = number
    return owner


def passages(lengths: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Splits a document into passages of whole consecutive sentences, of about the same length.

    Args:
        lengths: number of sub-tokens of each sentence.
        limit: the most sub-tokens in a passage; a sentence that exceeds it is a passage by itself.

    Yields:
        Ranges of sentences (begin, end), end exclusive; together they cover every sentence once.
    """
    total = sum(lengths)
    fair = total / max(1, -(-total // limit))  # two halves rather than one full passage and a small rest
    begin, size = 0, 0
    for index, length in enumerate(lengths):
        if index > begin and (size >= fair or size + length > limit):
            yield begin, index
            begin, size = index, 0
        size += length
    if lengths:
        yield begin, len(lengths)
