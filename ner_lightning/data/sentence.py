"""Sentence, and what all readers share: lines, errors with file and line, checks."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.readers.filetype import broken_utf16, in_utf8, not_text, not_utf8
from ner_lightning.data.schemes import OUTSIDE, UNKNOWN, Scheme, convert, detect, spans, split_tag
from ner_lightning.data.tags.legality import illegal_tags
from ner_lightning.errors import UserError
from ner_lightning.system.progress import warn
from ner_lightning.system.terminal import shortlist

SURROGATE = re.compile(r"[\ud800-\udfff]")  # half a character, which no tokenizer accepts


class DataError(UserError):
    """A data file is malformed; the message begins with the file and the line."""


class InText(NamedTuple):
    """Where the words of a sentence are in the text that was annotated.

    Attributes:
        text: the whole text, the same object for all its sentences.
        offsets: start and end of each word.
        id: the text's id in its file, if it has one.
        number: of the text in its file: two may be equal.
    """

    text: str
    offsets: tuple[tuple[int, int], ...]
    id: Any = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a data set.

    Attributes:
        words: its words, at least one.
        tags: one BIO2 tag per word, or "?" where it is unknown; None if it was read without tags.
        document: index of its document in the file, from 0.
        line: the line where it begins in its file, from 1; 0 if unknown.
        within: the text that it is from; None if it was read as words.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    document: int
    line: int = field(default=0, compare=False)
    within: InText | None = field(default=None, compare=False, repr=False)


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file in UTF-8, or in UTF-16 with its byte order mark.

    UTF-8's mark, CRLF and CR alone (classic Mac OS) are accepted.

    Raises:
        DataError: it is missing, not text, or in another encoding; the message gives line and column.
    """
    try:
        data = Path(path).read_bytes()
        other = not_text(data)
        if other is not None:
            raise DataError(f"{path}:1: this is {other}")
        data = in_utf8(data)
        text = data.decode("utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; name a file") from None
    except UnicodeDecodeError as error:
        if error.encoding != "utf-8":
            raise DataError(f"{path}:1: {broken_utf16(error)}") from None
        raise DataError(f"{path}:{not_utf8(data, error)}") from None
    if "\n" not in text:
        text = text.replace("\r", "\n")
    # Not splitlines(), which also splits at U+0085 and U+2028: those occur inside words.
    return [line.removesuffix("\r") for line in text.split("\n")]


def check_word(word: str) -> str:
    """Returns the word.

    Raises:
        UserError: it is empty or invisible.
    """
    if is_invisible(word):
        raise UserError(f"word {word!a} is empty or invisible; remove it or write a placeholder")
    return word


def miscounted(words: Sequence[str], tags: Sequence[str] | None) -> str | None:
    """What is wrong with the numbers of words and tags of a sentence; None if nothing is."""
    if not words:
        return "no words in this sentence; remove the line"
    if tags is not None and len(tags) != len(words):
        return f"{len(words)} words but {len(tags)} tags; write one tag per word"
    return None


def check_sentence(words: Sequence[str], tags: Sequence[str] | None) -> None:
    """Checks the words and tags of a sentence.

    Raises:
        UserError: there are no words, the numbers of words and tags differ, or a word or tag is malformed.
    """
    for name, given in (("words", words), ("tags", tags)):
        if isinstance(given, str):  # its letters would be taken for words or tags
            raise UserError(f"{name} are the text {given!r:.40}; write a list")
    if (problem := miscounted(words, tags)) is not None:
        raise UserError(problem)
    for word in words:
        check_word(word)
    for tag in tags or ():
        split_tag(tag)


class Converted(NamedTuple):
    """Sentences with BIO2 tags, and what their tags were.

    Attributes:
        sentences: the sentences.
        scheme: the scheme of the file as a whole.
        illegal: how many tags broke it.
        miscounted: how many entities of texts are no whole words, and would be if all offsets counted
            otherwise; empty if no way of counting explains them.
    """

    sentences: list[Sentence]
    scheme: Scheme
    illegal: int
    miscounted: str = ""


def converted(path: str | Path, sentences: list[Sentence]) -> Converted:
    """Converts tags to BIO2 from the scheme of the file as a whole.

    Tags that break the scheme are read as conlleval reads them, which a warning says.

    Raises:
        DataError: there are no sentences.
        UserError: a tag does not fit the scheme.
    """
    if not sentences:
        raise DataError(f"{path}:1: no sentence in the file; name a file with sentences")
    scheme = detect(sentence.tags or () for sentence in sentences)
    if scheme is Scheme.BIO2:
        return Converted(sentences, scheme, 0)
    broken = illegal_tags([sentence.tags or () for sentence in sentences], scheme)
    if any(broken):
        first = next(sentence for sentence, count in zip(sentences, broken, strict=True) if count)
        where = f"the sentence of line {first.line}" if first.line else f"'{' '.join(first.words[:6])} ...'"
        warn(
            f"{path}: {sum(broken):,} tags break the scheme {scheme} (an I- without a B- before it, or the "
            f"like), the first in {where}; entities are read as conlleval reads them."
        )
        scheme = Scheme.BIO2 if scheme is Scheme.IOB1 else scheme
    in_scheme = Scheme.IOB1 if scheme is Scheme.BIO2 else scheme
    bio2 = [replace(each, tags=tuple(convert(each.tags or (), in_scheme))) for each in sentences]
    return Converted(bio2, scheme, sum(broken))


def in_bio2(path: str | Path, sentences: list[Sentence]) -> list[Sentence]:
    """The sentences that `converted` gives."""
    return converted(path, sentences).sentences


def unknown_entities(sentences: Iterable[Sentence], types: Collection[str]) -> dict[str, int]:
    """Number of gold entities of each type that is not among `types`, in order of first appearance."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        if any(tag not in (OUTSIDE, UNKNOWN) and tag[2:] not in types for tag in sentence.tags or ()):
            counts.update(span.type for span in spans(sentence.tags or ()) if span.type not in types)
    return dict(counts)


def unknown_types(origin: str, unknown: Mapping[str, int], types: Collection[str]) -> str:
    """A warning that gold entities have types unknown to a tagger.

    Args:
        origin: where the sentences come from.
        unknown: from `unknown_entities`, not empty.
        types: the entity types of the tagger.
    """
    counted = shortlist([f"{count:,} {type_}" for type_, count in unknown.items()])
    return (
        f"{origin} has entities of types that the tagger does not know: {counted}; "
        f"they are scored as missed (it knows {shortlist(types)})."
    )
