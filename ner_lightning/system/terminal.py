"""Text from data, made safe for a terminal; whether that may be coloured."""

import os
from typing import TextIO


def printable(text: str, keep: str = "") -> str:
    r"""A text with nothing in it that a terminal would obey: such characters become \x1b and the like.

    Args:
        text: a word, a type's name or a message that may hold them.
        keep: characters to leave as they are, such as a line break.
    """
    return "".join(c if c.isprintable() or c in keep else f"\\x{ord(c):02x}" for c in text)


def in_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that may be coloured: NO_COLOR forbids it (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")
