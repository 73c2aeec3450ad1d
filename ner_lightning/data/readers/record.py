"""A record: a text or words of a file, and their annotation; reads lines and whole files of text.

Every reader yields records one at a time. One that cannot be used is yielded with its reason, so that the
caller can stop or go on.
"""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from ner_lightning.data.readers.text_lines import MAX_BYTES, lines, too_long
from ner_lightning.data.running_text import Document, Offsets, from_spaces, from_text, from_tokens, from_words
from ner_lightning.data.sentence import SURROGATE, DataError
from ner_lightning.errors import UserError


class CharSpan(NamedTuple):
    """An entity of a text.

    Attributes:
        start: offset of its first character.
        end: offset after its last character.
        type: entity type.
    """

    start: int
    end: int
    type: str


class Record(NamedTuple):
    """A text or the words of a sentence, or the reason why they cannot be used.

    Attributes:
        source: the file that it is from.
        line: the line where it begins, from 1; in Parquet and lists, its row or item.
        content: a text, or words; of a record with a reason, the beginning of its text.
        id: its id in the file.
        starts_document: whether a document begins with it.
        reason: why it cannot be used; empty if it can.
        tags: one tag for each word, as they are in the file; None if there are none or none were asked for.
        entities: the entities of a text; None if there are none or none were asked for.
        tokens: the offsets of the words of a text, which may be `text`; None if the file leaves them open.
        document: what its document is called, where the file names it.
        lines: the line of each word, where words have lines of their own.
        is_sentence: whether its text is a sentence of a file of words, made a text for the sake of its
            entities: they overlap, begin or end inside a word, or are given by characters.
        starts: the characters of a text at which its sentences begin; None if the file leaves them open.
        text: the text that the words of a sentence are in, where the file has it; None: they are joined.
    """

    source: str
    line: int
    content: str | tuple[str, ...] = ""
    id: Any = None
    starts_document: bool = False
    reason: str = ""
    tags: tuple[Any, ...] | None = None
    entities: tuple[CharSpan, ...] | None = None
    tokens: tuple[Offsets, ...] | None = None
    document: Any = None
    lines: Sequence[int] = ()
    is_sentence: bool = False
    starts: tuple[int, ...] | None = None
    text: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether it can be used and is a running text, not the words of a sentence."""
        return isinstance(self.content, str) and not self.is_sentence and not self.reason

    def split(self, *, tokenized: bool = False) -> Document:
        """Its words.

        Args:
            tokenized: words of a text are separated by white space alone.
        """
        if not isinstance(self.content, str):
            if self.text is None or self.tokens is None:
                return from_words(self.content)
            return from_tokens(self.text, self.tokens, starts=())
        if self.tokens is not None:
            return from_tokens(self.content, self.tokens, () if self.is_sentence else self.starts)
        return from_spaces(self.content) if tokenized else from_text(self.content)


def text_lines(file: BinaryIO, source: str) -> Iterator[Record]:
    """Each line that is not blank as a text."""
    for number, text, reason in lines(file):
        if reason:
            yield rejected(Record(source, number, text), reason)
        elif text.strip():
            yield Record(source, number, text)


def whole_file(file: BinaryIO, source: str) -> Iterator[Record]:
    """A file as one text, with its line breaks."""
    raw = file.read(MAX_BYTES + 1).removeprefix(codecs.BOM_UTF8)
    record = Record(source, 1, starts_document=True)
    if len(raw) > MAX_BYTES:
        yield rejected(record, too_long())
        return
    try:
        yield record._replace(content=raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        yield rejected(record, f"byte 0x{raw[error.start]:02x} in line {line} is not UTF-8")


def checked_content(value: Any, where: str) -> str | tuple[str, ...]:
    """A value that is a text or a list of words.

    Raises:
        UserError: it is neither, is too long, or cannot be written as UTF-8; the message begins with `where`.
    """
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str) for word in words):
        raise UserError(f"{where} holds {value!r:.40}, which is neither a text nor a list of words")
    if any(map(SURROGATE.search, words)):
        raise UserError(f"{where} holds half of a surrogate pair: {value!r:.40}")
    if sum(map(len, words)) > MAX_BYTES:
        raise UserError(too_long())
    return value if isinstance(value, str) else tuple(value)


def rejected(record: Record, reason: str) -> Record:
    """A record that cannot be used, with the beginning of its content."""
    content = record.content if isinstance(record.content, str) else " ".join(record.content)
    return record._replace(content=content[:200], reason=reason)


def numbered(records: Iterable[Record]) -> Iterator[tuple[Record, int]]:
    """Records with the number of the document that each belongs to, from 1.

    A text is a document of its own, unless the text before it names the same one.
    """
    number, source, before = 0, None, None
    for record in records:
        named = record.document if record.is_text else None
        goes_on = named is not None and named == before
        is_new = not goes_on and (record.starts_document or record.is_text)
        number += is_new or record.source != source
        source, before = record.source, named
        yield record, number


def check_usable(records: Iterable[Record]) -> None:
    """Checks that all records can be used.

    Raises:
        DataError: one cannot; the message says where it is and why.
    """
    for record in records:
        if record.reason:
            raise DataError(f"{record.source}:{record.line}: {record.reason}")
