"""Invisible text: white space and characters of no width, as words and at the ends of names."""

import re

_ZERO_WIDTH = "\u200b\u200c\u200d\ufeff\u2060\u00ad"
# Tokenizers drop such words or merge them with a neighbour, so that nothing is left to tag.
_INVISIBLE = re.compile(rf"[\s{_ZERO_WIDTH}]*")
_ENDS = re.compile(rf"\A[\s{_ZERO_WIDTH}]+|[\s{_ZERO_WIDTH}]+\Z")
# Within a name, Indic and Arabic scripts need joiners; others stand only where text was copied from a page.
_STRAY = re.compile("[\u200b\ufeff\u2060\u00ad]")


def is_invisible(word: str) -> bool:
    """Whether a word is empty, white space, or made of zero-width characters."""
    return _INVISIBLE.fullmatch(word) is not None


def visible(name: str) -> str:
    """A name without white space and zero-width characters at its ends."""
    return name if name.isalnum() else _ENDS.sub("", name)


def is_visible(name: str) -> bool:
    """Whether a name has visible ends, and no character that nobody sees between them."""
    return name.isalnum() or (bool(name) and visible(name) == name and not _STRAY.search(name))
