"""How tools count characters: code points, UTF-16 code units, a line break of two characters as one."""

from collections.abc import Callable, Mapping

# The number of units that a character counts for, the next character being known.
COUNTINGS: Mapping[str, Callable[[str, str], int]] = {
    "characters": lambda _, __: 1,
    "line breaks of two characters as one": lambda here, after: 0 if here + after == "\r\n" else 1,
    "UTF-16 code units": lambda here, _: 2 if here > "\uffff" else 1,
}


def offsets_of(text: str, counting: str, first: int = 0) -> list[int]:
    """The characters at which units begin, and the length of the text at the end.

    Args:
        text: that was counted.
        counting: one of `COUNTINGS`.
        first: units that come before the text, such as one for a byte order mark.
    """
    units = COUNTINGS[counting]
    offsets = [0] * first
    for at, (here, after) in enumerate(zip(text, text[1:] + " ", strict=False)):
        offsets += [at] * units(here, after)
    return [*offsets, len(text)]


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ in white space alone; Label Studio writes a line break as two characters."""
    first, second = (text.replace("\\n", " ").split() for text in (one, other))
    return first == second
