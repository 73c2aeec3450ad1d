"""How text is cut: windows for a long sentence, passages of whole sentences for a document."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def windows(starts: Ints, capacity: int, overlap: int) -> list[tuple[int, int]]:
    """Cuts a sentence into overlapping windows of whole words.

    Args:
        starts: each word's first sub-token, and at the end their number. *Shape:* (W + 1,)
        capacity: the most sub-tokens in a window; no word is longer.
        overlap: sub-tokens shared with the window before, as far as words and progress permit.

    Returns:
        word ranges (low, high), high exclusive; together they cover every word.
    """
    count = len(starts) - 1
    cuts: list[tuple[int, int]] = []
    low = 0
    while True:
        high = int(np.searchsorted(starts, starts[low] + capacity, side="right")) - 1
        cuts.append((low, high))
        if high >= count:
            return cuts
        back = int(np.searchsorted(starts, starts[high] - overlap))
        # The next window must hold a word more than this one, or it would repeat it for ever.
        reach = int(np.searchsorted(starts, starts[high + 1] - capacity))
        low = max(low + 1, reach, min(back, high))


def owners(cuts: Sequence[tuple[int, int]], count: int) -> Ints:
    """Gives each word to one window: of two that share it, the one with more context around it."""
    owner = np.zeros(count, dtype=np.int64)
    for number, ((_, high), (low, _)) in enumerate(pairwise(cuts), start=1):
        owner[(low + high + 1) // 2 :] = number
    return owner


def passages(lengths: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Cuts a document into passages of whole consecutive sentences, of about the same length.

    Args:
        lengths: sub-tokens of each sentence.
        limit: the most sub-tokens in a passage; a sentence that exceeds it is one by itself.

    Yields:
        ranges of sentences (begin, end), end exclusive; together they cover every sentence once.
    """
    total = sum(lengths)
    fair = total / max(1, -(-total // limit))  # rather two halves than one full window and a rest
    begin, held = 0, 0
    for place, length in enumerate(lengths):
        if place > begin and (held >= fair or held + length > limit):
            yield begin, place
            begin, held = place, 0
        held += length
    if lengths:
        yield begin, len(lengths)
