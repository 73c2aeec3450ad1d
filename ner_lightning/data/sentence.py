"""Sentence, and what all readers share: lines, errors with file and line, checks."""

import codecs
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ner_lightning.data.readers.filetype import not_text
from ner_lightning.data.schemes import OUTSIDE, Scheme, convert, detect, spans, split_tag
from ner_lightning.errors import UserError

# Tokenisers drop such words or melt them into a neighbour, so that nothing is left to tag.
_INVISIBLE = re.compile(r"[\s\u200b\u200c\u200d\ufeff\u2060\u00ad]*")


class DataError(UserError):
    """Something is wrong in a data file; the message begins with the file and the line."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as the data give it.

    Attributes:
        words: its words, at least one.
        tags: one BIO2 tag a word; None if it was read without tags.
        document: index of its document in the file, from 0.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    document: int


def read_lines(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file; a byte order mark, CRLF and CR alone (an old Mac's) are accepted.

    Raises:
        DataError: it is missing, no text, or not UTF-8; the message says at which line and column.
    """
    try:
        data = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
        other = not_text(data)
        if other is not None:
            raise DataError(f"{path}:1: this is {other}")
        text = data.decode("utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; name a file") from None
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise DataError(
            f"{path}:{line}:{column}: byte 0x{data[error.start]:02x} is not UTF-8; "
            "convert the file, for example with iconv -f latin1 -t utf-8"
        ) from None
    if "\n" not in text:
        text = text.replace("\r", "\n")
    # Not splitlines(), which also splits at U+0085 and U+2028: those occur inside words.
    return [line.removesuffix("\r") for line in text.split("\n")]


def shows_nothing(word: str) -> bool:
    """Whether a word is empty, white space, or made of characters of no width."""
    return _INVISIBLE.fullmatch(word) is not None


def check_word(word: str) -> str:
    """The word, if there is anything to see of it.

    Raises:
        UserError: there is none.
    """
    if shows_nothing(word):
        raise UserError(f"word {word!a} shows nothing; remove it or write a placeholder")
    return word


def check_sentence(words: Sequence[str], tags: Sequence[str] | None) -> None:
    """Checks words and tags that belong together.

    Raises:
        UserError: there are no words, another number of tags, or one of them is malformed.
    """
    for name, given in (("words", words), ("tags", tags)):
        if isinstance(given, str):  # whose letters would pass for them
            raise UserError(f"{name} are the text {given!a:.40}; write a list")
    if not words:
        raise UserError("no words in this sentence; remove the line")
    if tags is not None and len(tags) != len(words):
        raise UserError(f"{len(words)} words but {len(tags)} tags; write one tag a word")
    for word in words:
        check_word(word)
    for tag in tags or ():
        split_tag(tag)


def in_bio2(path: str | Path, sentences: list[Sentence]) -> list[Sentence]:
    """Brings the tags to BIO2 from the scheme that the file as a whole shows."""
    if not sentences:
        raise DataError(f"{path}:1: no sentence in the file; name a file that has some")
    scheme = detect(sentence.tags or () for sentence in sentences)
    if scheme is Scheme.BIO2:
        return sentences
    return [replace(each, tags=tuple(convert(each.tags or (), scheme))) for each in sentences]


def unknown_entities(sentences: Iterable[Sentence], types: Collection[str]) -> dict[str, int]:
    """How many gold entities are of each type that is not among `types`, in order of first appearance."""
    found: Counter[str] = Counter()
    for sentence in sentences:
        if any(tag != OUTSIDE and tag[2:] not in types for tag in sentence.tags or ()):
            found.update(span.type for span in spans(sentence.tags or ()) if span.type not in types)
    return dict(found)


def unknown_types(origin: str, unknown: Mapping[str, int], types: Collection[str]) -> str:
    """The warning that gold entities are of types which a tagger does not have.

    Args:
        origin: where the sentences come from.
        unknown: from `unknown_entities`, not empty.
        types: the entity types that the tagger has.
    """
    counted = ", ".join(f"{count:,} {kind}" for kind, count in unknown.items())
    return (
        f"{origin} has entities of types that the tagger does not know: {counted}; "
        f"they are scored as missed (it knows {', '.join(types)})."
    )
