"""Text made safe for a terminal; counts and lists in words; bold text; what a stream can show."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TextIO

# Variables of Jupyter's kernels and of hosted notebooks. KAGGLE_KEY and the like are also set elsewhere.
_NOTEBOOKS = ("JPY_PARENT_PID", "COLAB_", "KAGGLE_KERNEL_", "KAGGLE_URL_BASE")


def printable(text: str, keep: str = "") -> str:
    r"""A text with its control characters escaped, as \x1b and the like.

    Args:
        text: a word, a type's name or a message.
        keep: characters to leave as they are, such as a line break.
    """
    return "".join(c if c.isprintable() or c in keep else f"\\x{ord(c):02x}" for c in text)


def write_line(stream: TextIO, line: str) -> None:
    r"""Writes a line; characters that the stream's encoding lacks are escaped, as \u0142 and the like."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


@contextmanager
def escaping() -> Iterator[None]:
    """Within it all that is printed is escaped so; afterwards standard output and error are as before."""
    streams = [each for each in (sys.stdout, sys.stderr) if isinstance(each, TextIOWrapper)]
    before = [(each, each.encoding, each.errors) for each in streams]
    for stream in streams:
        if stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, encoding, errors in before:
            with suppress(OSError, ValueError):  # a full disk, or a stream that was closed
                stream.reconfigure(encoding=encoding, errors=errors)


def print_utf8() -> None:
    """From here on standard output is UTF-8: data are, whatever the terminal's encoding."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def counted(count: int, one: str, several: str | None = None) -> str:
    """A number of things, as in `1 mistake` and `2 mistakes`; `several` where it is not `one` with an s."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def listed(names: Iterable[object], most: int) -> str:
    """The first names, at most `most`, separated by commas, with `...` if there are more."""
    given = list(map(str, names))
    return ", ".join([*given[:most], *["..."] * (len(given) > most)])


def shortlist(names: Iterable[str], most: int = 10) -> str:
    """The first names, separated by commas, and how many more there are.

    Example:
        >>> shortlist(["PER", "LOC", "ORG", "MISC"], 2)
        'PER, LOC and 2 more'
    """
    given = list(names)
    more = len(given) - most
    return ", ".join(given[:most]) + (f" and {more:,} more" if more > 0 else "")


def most_frequent(counts: Mapping[str, int], most: int) -> list[str]:
    """The names in their order; if they are more than `most`, by frequency."""
    return list(counts) if len(counts) <= most else sorted(counts, key=lambda name: (-counts[name], name))


def bold(text: str) -> str:
    """A text in bold, for a terminal."""
    return f"\x1b[1m{text}\x1b[0m"


def dim(text: str) -> str:
    """A text in a fainter colour, for a terminal."""
    return f"\x1b[2m{text}\x1b[22m"


def in_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that may be coloured: NO_COLOR forbids it (https://no-color.org)."""
    return _takes_sequences(stream) and not os.environ.get("NO_COLOR")


def redraws(stream: TextIO) -> bool:
    """Whether what is drawn again replaces what was drawn before: at a terminal, but not in a notebook.

    There a command after `!` has a terminal, of which the page keeps all that was ever drawn.
    """
    return _takes_sequences(stream) and not any(name.startswith(_NOTEBOOKS) for name in os.environ)


def _takes_sequences(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"
