"""Why entities are no whole words: how their offsets may have been counted, by what would fit."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ner_lightning.data.readers.counting import Counting, countings
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.running_text import Offsets


def cause_of(text: str, words: Sequence[Offsets]) -> Callable[[CharSpan], str]:
    """Tells how the offsets of an entity may have been counted.

    Args:
        text: the text.
        words: the offsets of its words.

    Returns:
        A function of an entity, as the file has it, that is no whole words: how it would be;
        empty if in no way.
    """
    starts, ends = {start for start, _ in words}, {end for _, end in words}
    others = [each for each in countings(text) if not each.is_inclusive and len(each.starts) != len(text) + 1]
    return partial(_cause, starts=starts, ends=ends, others=others)


def _cause(entity: CharSpan, starts: set[int], ends: set[int], others: Sequence[Counting]) -> str:
    readings = _readings(entity.start, entity.end, others)
    return next((how for how, start, end in readings if start in starts and end in ends), "")


def _readings(start: int, end: int, others: Sequence[Counting]) -> Iterator[tuple[str, int, int]]:
    """How offsets may have been counted, and what they then mean."""
    yield "if the end were inclusive", start, end + 1
    yield "if characters were counted from 1", start - 1, end - 1
    yield "if characters were counted from 1 and the end were inclusive", start - 1, end
    for counting in others:
        if found := counting.characters(start, end):
            yield f"if offsets counted {counting.name}", *found
