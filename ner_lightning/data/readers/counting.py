"""What offsets count: characters, UTF-16 code units, bytes, a line break of two characters as one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from ner_lightning.data.running_text import Offsets

# The number of units that a character counts for, the next character being known.
COUNTINGS: Mapping[str, Callable[[str, str], int]] = {
    "characters": lambda _, __: 1,
    "line breaks of two characters as one": lambda here, after: 0 if here + after == "\r\n" else 1,
    "UTF-16 code units": lambda here, _: 2 if here > "\uffff" else 1,
    "bytes of UTF-8": lambda here, _: len(here.encode(errors="surrogatepass")),
}
EXCLUSIVE = "offsets count characters from 0, the end is exclusive"


class Counting(NamedTuple):
    """What the offsets of a text count.

    Attributes:
        name: what it is called in messages.
        starts: for each offset of a start, the offset in characters.
        ends: for each offset of an end, the offset in characters, exclusive.
        is_usual: whether these are characters, the end exclusive.
        is_inclusive: whether the end is the last unit, not the one after it.
    """

    name: str
    starts: Sequence[int]
    ends: Sequence[int]
    is_usual: bool = False
    is_inclusive: bool = False

    def characters(self, start: int, end: int) -> Offsets | None:
        """The offsets in characters, the end exclusive; None if they lie outside the text or are negative."""
        if not (0 <= start < len(self.starts) and 0 <= end < len(self.ends)):
            return None
        first, last = self.starts[start], self.ends[end]
        return (first, last) if first <= last else None

    def fits(self, stated: str, covered: str) -> bool:
        """Whether a text that is stated is the one that offsets cover, but for white space and case.

        An end that seems to be included adds no white space.
        """
        is_longer = covered[-1:].isspace() and not stated[-1:].isspace()
        return same_words(stated, covered) and not (self.is_inclusive and is_longer)


def countings(text: str, mark: str = "") -> Iterator[Counting]:
    """What offsets of a text may count: the usual first, and ends that are included last.

    Args:
        text: the text.
        mark: a byte order mark that was taken from the text, and may have been counted.
    """
    every = range(len(text) + 1)
    yield Counting("characters", every, every, is_usual=True)
    for is_inclusive, before, name in product((False, True), dict.fromkeys(("", mark)), COUNTINGS):
        offsets = _offsets(text, COUNTINGS[name], before)
        named = name + (", after a byte order mark that counts" if before else "")
        if is_inclusive:
            yield Counting(f"{named}, the last one included", offsets, offsets[1:], is_inclusive=True)
        else:
            yield Counting(named, offsets, offsets)


def _offsets(text: str, units: Callable[[str, str], int], mark: str) -> list[int]:
    """The character at which each unit begins, and the length of the text at the end."""
    offsets = [0] * (units(mark, text[:1]) if mark else 0)
    for at, (here, after) in enumerate(zip(text, text[1:] + " ", strict=False)):
        offsets += [at] * units(here, after)
    return [*offsets, len(text)]


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ in white space and case alone.

    Label Studio writes a line break as two characters; tokenizers may lower the case of what they return.
    """
    first, second = (text.replace("\\n", " ").casefold().split() for text in (one, other))
    return first == second


def contradiction(where: str, stated: str, found: str, rule: str = EXCLUSIVE) -> str:
    """Why offsets are refused whose text is stated to be another one.

    Args:
        where: what has the offsets: "the entity PER from 0 to 6".
        stated: its text as the file states it.
        found: its text by its offsets.
        rule: what offsets count.
    """
    return f"{where} is stated as {stated!r:.40}, but the text has {found!r:.40} there; {rule}"
