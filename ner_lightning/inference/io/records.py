"""A text or words to be tagged, and where they are from; lines and whole files of text. No torch in here."""

import codecs
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from ner_lightning.data.readers.jsonl import SURROGATE
from ner_lightning.data.sentence import check_word
from ner_lightning.errors import UserError
from ner_lightning.inference.text import Document, from_spaces, from_text, from_words

LONGEST = 8 * 2**20  # bytes of a text: a few books; its words take a hundred times that


class Record(NamedTuple):
    """What is to be tagged, or why it cannot be.

    Attributes:
        source: the file that it is from.
        line: where it begins there, from 1; for Parquet, its row.
        content: a text, or words; of what cannot be tagged, its beginning.
        id: what the file has for an id.
        opens: whether a document begins with it.
        reason: why it cannot be tagged; empty if it can.
    """

    source: str
    line: int
    content: str | tuple[str, ...] = ""
    id: Any = None
    opens: bool = False
    reason: str = ""

    def document(self, *, tokenized: bool = False) -> Document:
        """Its words.

        Args:
            tokenized: words of a text are parted by white space alone.
        """
        if not isinstance(self.content, str):
            return from_words(self.content)
        return from_spaces(self.content) if tokenized else from_text(self.content)


def lines(file: BinaryIO, source: str) -> Iterator[Record]:
    """The lines of a UTF-8 file, without their ends (LF, CRLF, or in all of it CR); blank ones as well."""
    number = 0
    while raw := file.readline(LONGEST + 1):
        number += 1
        record = Record(source, number)
        if len(raw) > LONGEST:
            shown = raw
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LONGEST)
            yield bad(record._replace(content=shown.decode(errors="replace")), _too_long())
            continue
        if number > 1:
            yield _decoded(record, raw)
            continue
        raw = raw.removeprefix(codecs.BOM_UTF8)
        parts = [raw] if raw.endswith(b"\n") else raw.split(b"\r")
        for number, part in enumerate(parts, 1):  # the first line is the file
            yield _decoded(record._replace(line=number), part)


def _decoded(record: Record, raw: bytes) -> Record:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(raw[: error.start].decode("utf-8")) + 1
        reason = f"byte 0x{raw[error.start]:02x} in column {column} is not UTF-8"
        return bad(record._replace(content=raw.decode(errors="replace")), reason)
    return record._replace(content=text.removesuffix("\n").removesuffix("\r"))


def texts(file: BinaryIO, source: str) -> Iterator[Record]:
    """The lines that are not blank."""
    return filter(not_blank, lines(file, source))


def not_blank(line: Record) -> bool:
    """Whether there is something on a line."""
    return bool(line.reason or str(line.content).strip())


def whole(file: BinaryIO, source: str) -> Iterator[Record]:
    """A file as one text, line breaks as they are."""
    raw = file.read(LONGEST + 1).removeprefix(codecs.BOM_UTF8)
    record = Record(source, 1, opens=True)
    if len(raw) > LONGEST:
        yield bad(record, _too_long())
        return
    try:
        yield record._replace(content=raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        place = raw.count(b"\n", 0, error.start) + 1
        yield bad(record, f"byte 0x{raw[error.start]:02x} in line {place} is not UTF-8")


def checked(value: Any, where: str) -> str | tuple[str, ...]:
    """A value, if it is a text or a list of words that can be written again.

    Raises:
        UserError: it is not; the message begins with `where`.
    """
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str) for word in words):
        raise UserError(f"{where} holds {value!a:.40}, which is neither a text nor a list of words")
    if isinstance(value, list):
        for word in words:
            check_word(word)
    if any(map(SURROGATE.search, words)):
        raise UserError(f"{where} holds half a character: {value!a:.40}")
    if sum(map(len, words)) > LONGEST:
        raise UserError(_too_long())
    return value if isinstance(value, str) else tuple(value)


def bad(record: Record, reason: str) -> Record:
    """A record that cannot be tagged, with the beginning of what it holds."""
    content = record.content if isinstance(record.content, str) else " ".join(record.content)
    return record._replace(content=content[:200], reason=reason)


def _too_long() -> str:
    return f"longer than {LONGEST // 2**20} MB; break it into several texts"
