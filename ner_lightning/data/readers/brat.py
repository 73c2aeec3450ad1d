"""Reads brat's standoff annotation: a text in .txt, its entities in the .ann beside it."""

import codecs
import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.counting import Counting, contradiction, countings
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import CharSpan, Record, rejected, whole_file
from ner_lightning.data.readers.text_lines import MAX_BYTES
from ner_lightning.data.running_text import Offsets
from ner_lightning.data.sentence import DataError
from ner_lightning.errors import UserError
from ner_lightning.system.progress import warn

SUFFIX = ".ann"
_SPAN = re.compile(r"(\S+) +(\d+ +\d+(?:;\d+ +\d+)*)", re.ASCII)
_MARK = codecs.BOM_UTF8.decode()
_RULE = "offsets count the characters of the .txt file from 0, line breaks included, the end is exclusive"
_WRITE = "write T1, a tab, TYPE START END, a tab, and the entity's text"
_NOT_READ = {
    "R": "relations are left out",
    "*": "relations are left out",
    "E": "events are left out",
    "A": "attributes of entities are left out",
    "M": "attributes of entities are left out",
    "N": "references to knowledge bases are left out",
    "#": "notes are left out",
}
_DISCONTINUOUS = "entities are discontinuous and were read from their first to their last character"


class _TextBound(NamedTuple):
    """A T line: the offsets of each fragment, the type, and the text that the line states."""

    line: int
    fragments: tuple[tuple[int, int], ...]
    type: str
    stated: str | None


class _AnnLineError(UserError):
    """What is wrong with a line of an .ann file."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def annotation_beside(path: Path) -> Path | None:
    """The .ann file of a text: the same folder and stem; None if there is none."""
    beside = path.with_suffix(SUFFIX)
    return beside if path.suffix != SUFFIX and beside.is_file() else None


def check_text(opened: Opened) -> None:
    """Checks that a file that is named is not an .ann file, which has no text.

    Raises:
        DataError: it is.
    """
    if opened.path is None or opened.path.suffix.lower() != SUFFIX:
        return
    text = opened.path.with_suffix(".txt")
    way = f"name its text, {text}, or their folder" if text.is_file() else f"its text, {text}, is missing"
    raise DataError(f"{opened.source}:1: this is the annotation of a text, as brat writes it; {way}")


def read_brat(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads one text, with the entities of the .ann file beside it.

    Args:
        opened: the .txt file.
        options: how it is read; only `tagged` counts.

    Yields:
        One record, the text as it is, line breaks included. What is wrong with the .ann file rejects it,
        with the .ann file as source and the line there.
    """
    data = opened.file.read(MAX_BYTES + len(codecs.BOM_UTF8) + 1)
    marked = data.startswith(codecs.BOM_UTF8)
    for record in whole_file(BytesIO(data), opened.source):
        if not options.tagged or record.reason:
            yield record
            continue
        beside = None if opened.path is None else annotation_beside(opened.path)
        if beside is None:
            expected = "the same name" if opened.path is None else opened.path.with_suffix(SUFFIX).name
            yield rejected(record, f"no annotation beside this text; brat writes it to {expected}")
            continue
        source = opened.source.removesuffix(opened.path.name if opened.path else "") + beside.name
        changes = Changes()
        try:
            entities = _entities(beside, str(record.content), source, changes, marked=marked)
        except _AnnLineError as error:
            yield rejected(record._replace(source=source, line=error.line), str(error))
            continue
        changes.report(source)
        yield record._replace(entities=entities)


def _entities(path: Path, text: str, source: str, changes: Changes, *, marked: bool) -> tuple[CharSpan, ...]:
    """The entities of an .ann file, as offsets in the text.

    Args:
        path: the .ann file.
        text: the text, without its byte order mark.
        source: the name of the .ann file in messages.
        changes: called with what is left out.
        marked: whether the text has a byte order mark.

    Raises:
        _AnnLineError: a line is malformed, or its offsets do not fit the text.
    """
    bounds = list(_text_bounds(path, changes))
    every = countings(text, _MARK if marked else "")
    counting = next(
        (each for each in every if all(_fits(bound, text, each) for bound in bounds)), next(countings(text))
    )
    if not counting.is_usual:
        warn(f"{source}: its offsets count {counting.name}; they were converted.")
    entities = []
    for bound in bounds:
        if not _fits(bound, text, counting):
            raise _AnnLineError(bound.line, _mismatch(bound, text, counting))
        fragments = _in_characters(bound, counting)
        start, end = fragments[0][0], fragments[-1][1]
        changes.place = f"line {bound.line}"
        # brat also ends a fragment at each line break of an entity.
        if any(text[a:b].strip() for (_, a), (b, _) in pairwise(fragments)):
            changes(_DISCONTINUOUS, text[start:end])
        entities.append(CharSpan(start, end, bound.type))
    return tuple(entities)


def _text_bounds(path: Path, changes: Changes) -> Iterator[_TextBound]:
    """The T lines of an .ann file.

    Raises:
        _AnnLineError: the file is not UTF-8, or a line is malformed.
    """
    try:
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
        content = data.decode("utf-8")
    except OSError as error:
        raise _AnnLineError(1, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        broken = data.count(b"\n", 0, error.start) + 1
        raise _AnnLineError(
            broken, f"byte 0x{data[error.start]:02x} is not UTF-8; convert the file"
        ) from None
    for number, ended in enumerate(content.split("\n"), start=1):
        line = ended.removesuffix("\r")
        changes.place = f"line {number}"
        if line.startswith("T"):
            yield _text_bound(number, line)
        elif line[:1] in _NOT_READ:
            changes(_NOT_READ[line[:1]], line)
        elif line.strip():
            raise _AnnLineError(number, f"{line!r:.60} is no line of brat's standoff format; {_WRITE}")


def _text_bound(number: int, line: str) -> _TextBound:
    """Parses a T line.

    Raises:
        _AnnLineError: it is malformed.
    """
    cells = line.split("\t", 2)
    match = _SPAN.fullmatch(cells[1].strip()) if len(cells) > 1 else None
    if match is None:
        raise _AnnLineError(number, f"{line!r:.60} is malformed; {_WRITE}")
    pairs = (part.split() for part in match[2].split(";"))
    try:
        fragments = tuple(sorted((int(start), int(end)) for start, end in pairs))
    except ValueError:  # a number of thousands of digits
        raise _AnnLineError(number, f"{line!r:.60} has offsets that are no numbers; {_WRITE}") from None
    borders = list(chain.from_iterable(fragments))
    if borders != sorted(borders) or any(start == end for start, end in fragments):
        raise _AnnLineError(
            number, f"the offsets of {line!r:.60} are empty or overlap; each start must be before its end"
        )
    return _TextBound(number, fragments, match[1], cells[2] if len(cells) > 2 else None)


def _in_characters(bound: _TextBound, counting: Counting) -> list[Offsets]:
    """The fragments of an entity in characters; empty if one lies outside the text."""
    found = [counting.characters(start, end) for start, end in bound.fragments]
    return [each for each in found if each is not None] if None not in found else []


def _fits(bound: _TextBound, text: str, counting: Counting) -> bool:
    """Whether an entity lies in the text and has the text that its line states."""
    fragments = _in_characters(bound, counting)
    if bound.stated is None:
        return bool(fragments) and not counting.is_inclusive
    return bool(fragments) and counting.fits(bound.stated, _covered(text, fragments))


def _covered(text: str, fragments: Iterable[Offsets]) -> str:
    return " ".join(text[start:end] for start, end in fragments)


def _mismatch(bound: _TextBound, text: str, counting: Counting) -> str:
    where = f"the entity {bound.type} from {bound.fragments[0][0]} to {bound.fragments[-1][1]}"
    fragments = _in_characters(bound, counting)
    if not fragments:
        return f"{where} does not lie in the text, which has {len(text):,} characters"
    return contradiction(where, str(bound.stated), _covered(text, fragments), _RULE)
