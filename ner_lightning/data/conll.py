"""Reads and writes CoNLL columns and JSONL; every error says file:line."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ner_lightning.data.schemes import OUTSIDE, Scheme, convert, detect, is_tag, split_tag
from ner_lightning.errors import UserError
from ner_lightning.files import replacing

DOCSTART = "-DOCSTART-"
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
# Tokenisers drop such words or melt them into a neighbour, so that nothing is left to tag.
_INVISIBLE = re.compile(r"[\s\u200b\u200c\u200d\ufeff\u2060\u00ad]*")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_AS_TEXT = 'write a list of words, or of tags by name, in quotes: ["O", "B-PER"]'
_UNWRITABLE = re.compile(r"^$|[ \t\r\n]+")


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


def read(
    path: str | Path,
    *,
    word_column: int = 0,
    tag_column: int = -1,
    words_field: str = "tokens",
    tags_field: str = "ner_tags",
    document_field: str = "document",
    tagged: bool = True,
) -> list[Sentence]:
    """Reads JSONL if the name ends in .jsonl, .ndjson or .json, and CoNLL columns otherwise.

    Arguments and errors are those of `read_jsonl` and `read_conll`.
    """
    if Path(path).suffix.lower() not in JSON_SUFFIXES:
        return read_conll(path, word_column=word_column, tag_column=tag_column, tagged=tagged)
    fields = {"words_field": words_field, "tags_field": tags_field}
    return read_jsonl(path, **fields, document_field=document_field, tagged=tagged)


def read_conll(
    path: str | Path, *, word_column: int = 0, tag_column: int = -1, tagged: bool = True
) -> list[Sentence]:
    """Reads columns separated by spaces or tabs, with a blank line after each sentence.

    A row that begins with `-DOCSTART-` opens a document. A line that begins with `#` is a comment
    only where a sentence could begin and where it cannot be a row of data, because `#` and
    `#hashtag` are words as well.

    Args:
        path: a UTF-8 file; a byte order mark and CRLF are accepted.
        word_column: index of the column that holds the words; negative ones count from the end.
        tag_column: index of the column that holds the tags, in any scheme.
        tagged: whether to read tags at all.

    Raises:
        DataError: the file is missing, empty, not UTF-8 or malformed.
    """
    rows = [_columns(line) for line in _lines(path)]
    layout = _Layout.of(path, rows, word_column, tag_column if tagged else None)
    sentences: list[Sentence] = []
    cells: list[tuple[str, str]] = []
    document = 0
    for number, row in enumerate([*rows, []], start=1):
        if row and row[0] != DOCSTART:
            try:
                if cells or not layout.is_comment(row):
                    cells.append(layout.cells(row))
            except UserError as error:
                raise DataError(f"{path}:{number}: {error}") from None
            continue
        if cells:
            words, tags = zip(*cells, strict=True)
            sentences.append(Sentence(words, tags if tagged else None, document))
            cells = []
        # Only a document that holds a sentence counts, so that indices have no gaps.
        if row and sentences and sentences[-1].document == document:
            document += 1
    return _in_bio2(path, sentences)


def read_jsonl(
    path: str | Path,
    *,
    words_field: str = "tokens",
    tags_field: str = "ner_tags",
    document_field: str = "document",
    tagged: bool = True,
) -> list[Sentence]:
    """Reads one JSON object a line.

    Args:
        path: a UTF-8 file; blank lines are passed over.
        words_field: field with a list of words; `words` serves where it is absent.
        tags_field: field with a list of tags by name; `tags` or `labels` serves where it is absent.
        document_field: field with a value that all sentences of a document share; may be absent.
        tagged: whether to read tags at all.

    Raises:
        DataError: the file is missing, empty, not UTF-8 or malformed.
    """
    sentences = []
    documents: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = _object(line)
            words = _strings(row, words_field, "words")
            tags = _strings(row, tags_field, "tags", "labels") if tagged else None
            _check(words, tags)
        except UserError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        document = documents.setdefault(repr(row.get(document_field)), len(documents))
        sentences.append(Sentence(words, tags, document))
    return _in_bio2(path, sentences)


def write_conll(path: str | Path, sentences: Iterable[Sentence], *columns: Iterable[Sequence[str]]) -> None:
    """Writes words and any number of columns beside them, separated by spaces.

    What columns cannot hold becomes `_`: white space inside a word or tag, and an empty word.
    `-DOCSTART-` rows are written if there is more than one document.

    Args:
        path: the file to write; it is replaced in one step.
        sentences: the sentences; their own tags are not written unless given as a column.
        columns: for each column, a sequence of tags for each sentence.

    Raises:
        ValueError: a column has more or fewer sentences or tags than there are sentences or words.
    """
    rows = list(zip(sentences, *columns, strict=True))
    several = len({sentence.document for sentence, *_ in rows}) > 1
    document = None
    with _replacing(path) as file:
        for sentence, *beside in rows:
            if several and sentence.document != document:
                document = sentence.document
                file.write(" ".join([DOCSTART] + [OUTSIDE] * len(columns)) + "\n\n")
            for cells in zip(sentence.words, *beside, strict=True):
                file.write(" ".join(_UNWRITABLE.sub("_", cell) for cell in cells) + "\n")
            file.write("\n")


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object a line; the file is replaced in one step."""
    with _replacing(path) as file:
        file.writelines(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)


class _Layout(NamedTuple):
    """Which columns to read, and the line and the width of a CoNLL file's first row."""

    word: int
    tag: int | None
    line: int
    width: int

    @classmethod
    def of(cls, path: str | Path, rows: list[list[str]], word: int, tag: int | None) -> "_Layout":
        # A row that begins with # may be a comment, so it serves only if there is no other.
        data = [
            (row[0].startswith("#"), line, len(row))
            for line, row in enumerate(rows, start=1)
            if row and row[0] != DOCSTART
            if not row[0].startswith("#") or tag is None or is_tag(row[-1])
        ]
        _, line, width = min(data, default=(False, 1, 0))
        asked = {"words": word} if tag is None else {"words": word, "tags": tag}
        if data and len({i % width for i in asked.values() if -width <= i < width}) < len(asked):
            wanted = " and ".join(f"{name} are in column {i}" for name, i in asked.items())
            raise DataError(
                f"{path}:{line}: too few columns: {width}, but {wanted}; separate columns by spaces or tabs"
            )
        return cls(word, tag, line, width)

    def is_comment(self, row: list[str]) -> bool:
        """Whether a row at the place where a sentence could begin is no data."""
        fits = len(row) == self.width
        if not row[0].startswith("#"):
            return False
        if self.tag is None or (row[0] == "#" and not fits):
            return not fits
        return not is_tag(row[self.tag if fits else -1])

    def cells(self, row: list[str]) -> tuple[str, str]:
        """The word and the tag of a row."""
        if len(row) != self.width:
            raise UserError(
                f"{len(row)} columns where line {self.line} has {self.width}; "
                "write the same number in all rows"
            )
        tag = OUTSIDE if self.tag is None else row[self.tag]
        split_tag(tag)
        return _check_word(row[self.word]), tag


def _lines(path: str | Path) -> list[str]:
    try:
        data = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
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
    # Not splitlines(), which also splits at U+0085 and U+2028: those occur inside words.
    return [line.removesuffix("\r") for line in text.split("\n")]


def _columns(line: str) -> list[str]:
    # Not split(), which also splits at U+00A0 and its like: those occur inside words.
    cells = [] if line.isspace() else line.replace("\t", " ").split(" ")
    return [cell for cell in cells if cell]


def _check_word(word: str) -> str:
    if _INVISIBLE.fullmatch(word):
        raise UserError(f"word {word!a} shows nothing; remove it or write a placeholder")
    return word


def _check(words: Sequence[str], tags: Sequence[str] | None) -> None:
    if not words:
        raise UserError("no words in this sentence; remove the line")
    if tags is not None and len(tags) != len(words):
        raise UserError(f"{len(words)} words but {len(tags)} tags; write one tag a word")
    for word in words:
        _check_word(word)
    for tag in tags or ():
        split_tag(tag)


def _object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg} at column {error.colno}; write one object a line") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets a thousand deep
        raise UserError("not JSON that can be read: too long a number, or nested too deeply") from None
    if not isinstance(row, dict):
        raise UserError(f"a JSON {type(row).__name__}, not an object; write one object a line")
    return row


def _strings(row: dict[str, Any], *names: str) -> tuple[str, ...]:
    """The list of strings in the first of the named fields that is there."""
    name = next((name for name in names if name in row), None)
    if name is None:
        found = ", ".join(row) or "none"
        raise UserError(f"no field {names[0]!r}; name another one (fields: {found})")
    if not isinstance(row[name], list):
        raise UserError(f"field {name!r} holds no list; {_AS_TEXT}")
    for entry in row[name]:
        if not isinstance(entry, str) or _SURROGATE.search(entry):
            raise UserError(f"field {name!r} holds {entry!a:.40}, which is no text; {_AS_TEXT}")
    return tuple(row[name])


def _in_bio2(path: str | Path, sentences: list[Sentence]) -> list[Sentence]:
    """Brings the tags to BIO2 from the scheme that the file as a whole shows."""
    if not sentences:
        raise DataError(f"{path}:1: no sentence in the file; name a file that has some")
    scheme = detect(sentence.tags or () for sentence in sentences)
    if scheme is Scheme.BIO2:
        return sentences
    return [replace(each, tags=tuple(convert(each.tags or (), scheme))) for each in sentences]


@contextmanager
def _replacing(path: str | Path) -> Iterator[TextIO]:
    """Opens a draft beside the file, which takes its place when all is written."""
    with replacing(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="\n")
        try:
            yield text
        finally:
            text.detach()
