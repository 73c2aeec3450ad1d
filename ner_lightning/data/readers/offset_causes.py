"""Why entities are no whole words: how their offsets may have been counted, by what would fit."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from ner_lightning.data.readers.counting import COUNTINGS, Counting, countings
from ner_lightning.data.readers.record import CharSpan, Record
from ner_lightning.data.running_text import Offsets, words

FEW = 3  # entities inside words, up to which that may be chance
LEFT = 0.1  # share of those entities that another way of counting may leave inside words

_COUNTED = "if offsets counted "
_UNITS = {*COUNTINGS} - {"characters"}


def cause_of(text: str, known: Sequence[Offsets]) -> Callable[[CharSpan], str]:
    """Tells how the offsets of an entity may have been counted.

    Args:
        text: the text.
        known: the offsets of its words.

    Returns:
        A function of an entity, as the file has it, that is no whole words: how it would be;
        empty if in no way.
    """
    starts, ends = {start for start, _ in known}, {end for _, end in known}
    return partial(_cause, starts=starts, ends=ends, others=_others(text))


def cause_of_all(records: Iterable[Record], few: int = FEW) -> str:
    """Tells how all offsets of a file were probably counted, if not as usual.

    One way of counting must explain all entities alike, also those that are whole words as they are. That the
    text has other units than characters shows where they are counted; that all are shifted alike shows only
    where most are no whole words: before a comma, a name with one character more is whole words, too.

    Args:
        records: the file's records, of which those with texts and entities count.
        few: how many entities may be inside words or outside of their text by chance.

    Returns:
        How many entities are no whole words, and how they would be; empty if they are few, or would not be.
    """
    total, inside = 0, 0
    explained: Counter[str] = Counter()
    for record in records:
        if not isinstance(record.content, str) or not record.entities:
            continue
        text = record.content
        found = words(text) if record.tokens is None else record.tokens
        starts, ends = {start for start, _ in found}, {end for _, end in found}
        others = _others(text)
        for start, end, _ in dict.fromkeys(record.entities):
            usual = _is_whole(text, start, end, starts, ends)
            total, inside = total + 1, inside + (not usual)
            fitting = {
                how for how, first, last in _readings(start, end, others) if first in starts and last in ends
            }
            # Where a text has nothing that other units count otherwise, they say the same as characters.
            same = _UNITS - {each.name for each in others} if usual else set()
            explained.update(fitting | {f"{_COUNTED}{name}" for name in same})
    if 2 * inside < total:
        explained = Counter({how: count for how, count in explained.items() if how.startswith(_COUNTED)})
    # Of two that explain as many, units: with another character they would differ.
    how, most = max(
        explained.items(), key=lambda each: (each[1], each[0].startswith(_COUNTED)), default=("", 0)
    )
    if inside < few or total - most > LEFT * inside:
        return ""
    return f"{inside:,} of {total:,} entities are no whole words of their text; {most:,} would be {how}"


def _is_whole(text: str, start: int, end: int, starts: set[int], ends: set[int]) -> bool:
    """Whether an entity is whole words, but for white space at its borders."""
    if not 0 <= start < end <= len(text):
        return False
    inner = text[start:end]
    first = start + len(inner) - len(inner.lstrip())
    return first in starts and first + len(inner.strip()) in ends


def _others(text: str) -> list[Counting]:
    """What offsets may count of which the text has another number than of characters."""
    return [each for each in countings(text) if not each.is_inclusive and len(each.starts) != len(text) + 1]


def _cause(entity: CharSpan, starts: set[int], ends: set[int], others: Sequence[Counting]) -> str:
    readings = _readings(entity.start, entity.end, others)
    return next((how for how, start, end in readings if start in starts and end in ends), "")


def _readings(start: int, end: int, others: Sequence[Counting]) -> Iterator[tuple[str, int, int]]:
    """How offsets may have been counted, and what they then mean."""
    yield "if the end were inclusive", start, end + 1
    yield "if characters were counted from 1", start - 1, end - 1
    yield "if characters were counted from 1 and the end were inclusive", start - 1, end
    yield "if each offset were one higher", start + 1, end + 1
    for counting in others:
        if found := counting.characters(start, end):
            yield f"{_COUNTED}{counting.name}", *found
