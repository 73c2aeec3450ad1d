"""The lines of a file of text in UTF-8, one at a time or in paragraphs, and what cannot be used of it."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_BLOCK = 2**18  # bytes that are read at once
MAX_BYTES = 8 * 2**20  # of a text: a few books; tagging takes a hundred times as much memory


class Line(NamedTuple):
    """A line of a file.

    Attributes:
        number: from 1.
        text: without its end; of a line with a reason, its beginning.
        reason: why it cannot be used; empty if it can.
    """

    number: int
    text: str
    reason: str = ""


class Paragraph(NamedTuple):
    """Consecutive lines without an empty one among them.

    Attributes:
        number: of the first line.
        text: the lines, with LF between them.
    """

    number: int
    text: str

    def lines(self) -> Iterator[Line]:
        """Each line."""
        return (Line(at, line) for at, line in enumerate(self.text.split("\n"), start=self.number))


def lines(file: BinaryIO) -> Iterator[Line]:
    """The lines of a UTF-8 file, blank ones as well, without their ends (LF, CRLF, or CR throughout).

    A byte order mark at the start of a line is left out: files that were joined have one in the middle.
    """
    for number, block in _blocks(file):
        yield from _decoded(block, number)


def paragraphs(file: BinaryIO) -> Iterator[Line | Paragraph]:
    """The same lines, but most of those between two empty lines together, which is several times as fast."""
    for number, block in _blocks(file):
        text = _text(block)
        if text is None or "\n\n" not in text:
            yield from _decoded(block, number)
            continue
        parts = text.split("\n\n")
        last = len(parts) - 1
        for place, part in enumerate(parts):
            # The first part may continue the block before, and the last may be continued by the next one.
            if place in (0, last):
                yield from (Line(at, line) for at, line in enumerate(part.split("\n"), start=number))
            elif rest := part.lstrip("\n"):
                yield Paragraph(number + len(part) - len(rest), rest)
            number += part.count("\n") + 1
            if place < last:
                yield Line(number, "")
                number += 1


def _blocks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Parts of a file, each with the number of its first line, and without the end of its last one."""
    number, rest = 1, b""
    read = getattr(file, "read1", file.read)  # as much as is there, so that a slow stream is not waited for
    while data := read(_BLOCK):
        end = data.rfind(b"\n")
        if end >= 0:
            block, rest = rest + data[:end], data[end + 1 :]
            yield number, _unmarked(block)
            number += block.count(b"\n") + 1
        elif len(rest) <= MAX_BYTES:
            rest += data
    if rest:
        if number == 1 and len(rest) <= MAX_BYTES:  # no line ends in LF
            rest = rest.replace(b"\r", b"\n").removesuffix(b"\n")
        yield number, _unmarked(rest)


def _unmarked(block: bytes) -> bytes:
    """Lines without byte order marks at their starts."""
    return block.removeprefix(codecs.BOM_UTF8).replace(b"\n" + codecs.BOM_UTF8, b"\n")


def _decoded(block: bytes, number: int) -> Iterator[Line]:
    """The lines of a block without the end of its last one.

    Args:
        block: the block, not more than one line of which is longer than `MAX_BYTES`.
        number: of its first line.
    """
    text = _text(block)
    if text is None:
        yield from (_examined(raw, at) for at, raw in enumerate(block.split(b"\n"), start=number))
    else:
        yield from (Line(at, line) for at, line in enumerate(text.split("\n"), start=number))


def _text(block: bytes) -> str | None:
    """Lines as text, with LF between them; None if one of them may not be used."""
    if len(block) > MAX_BYTES:
        return None
    try:
        return block.decode("utf-8").replace("\r\n", "\n").removesuffix("\r")
    except UnicodeDecodeError:
        return None


def _examined(raw: bytes, number: int) -> Line:
    """A line that may not be used."""
    if len(raw) > MAX_BYTES:
        return Line(number, raw[:1000].decode(errors="replace"), too_long())
    try:
        return Line(number, raw.decode("utf-8").removesuffix("\r"))
    except UnicodeDecodeError as error:
        column = len(raw[: error.start].decode("utf-8")) + 1
        reason = f"byte 0x{raw[error.start]:02x} in column {column} is not UTF-8"
        return Line(number, raw[:1000].decode(errors="replace"), reason)


def too_long() -> str:
    """The reason of a record that is too long."""
    return f"longer than {MAX_BYTES // 2**20} MB; split it into several texts"
