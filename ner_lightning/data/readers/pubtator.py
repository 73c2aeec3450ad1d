"""Reads PubTator: `ID|t|TITLE` and `ID|a|ABSTRACT`, and below them a line for each entity, by characters."""

import re
from collections.abc import Iterator, Sequence

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import CharSpan, Record, rejected
from ner_lightning.data.readers.text_lines import MAX_BYTES, Line, lines, too_long
from ner_lightning.errors import UserError

_TEXT = re.compile(r"([^|\t]+)\|([ta])\|(.*)")
_ENTITY = re.compile(r"([^\t]*)\t(\d{1,9})\t(\d{1,9})\t([^\t]*)\t([^\t]*)(?:\t.*)?", re.ASCII)
_RELATION = re.compile(r"[^\t]*\t[^\t]*[^\t\d][^\t]*\t.*")  # what follows the id is no number
_WRITE = "write ID, START, END, the entity's text and its type, with tabs between them"


def is_pubtator(lines: Sequence[str]) -> bool:
    """Whether a file is PubTator: its first line that is not blank is a title.

    Args:
        lines: the first lines of the file.
    """
    match = _TEXT.fullmatch(next((line for line in lines if line.strip()), ""))
    return match is not None and match[2] == "t"


def read_pubtator(opened: Opened, options: ReadOptions) -> Iterator[Record]:
    """Reads documents.

    Args:
        opened: a UTF-8 file.
        options: how it is read; only `tagged` counts.

    Yields:
        A record for each document: its title, a line break, and its abstract.
    """
    changes = Changes()
    for document in _documents(lines(opened.file)):
        yield _record(document, opened.source, changes, tagged=options.tagged)
    changes.report(opened.source)


def _documents(read: Iterator[Line]) -> Iterator[list[Line]]:
    """The lines of each document: up to a blank line or the next title."""
    document: list[Line] = []
    for line in read:
        title = (match := _TEXT.fullmatch(line.text)) is not None and match[2] == "t"
        if document and (title or not line.text.strip()):
            yield document
            document = []
        if line.text.strip():
            document.append(line)
    if document:
        yield document


def _record(document: Sequence[Line], source: str, changes: Changes, *, tagged: bool) -> Record:
    first, parts, name = document[0], dict.fromkeys("ta", ""), None
    entities: list[CharSpan] = []
    record = Record(source, first.number, first.text, starts_document=True)
    for line in document:
        try:
            if line.reason:
                raise UserError(line.reason)
            match = _TEXT.fullmatch(line.text)
            if match is not None and name in (None, match[1]) and not parts[match[2]]:
                name, parts[match[2]] = match[1], match[3]
                text = f"{parts['t']}\n{parts['a']}" if parts["a"] else parts["t"]
                record = record._replace(content=text, id=name, document=name)
                continue
            if name is None or match is not None or line.text.partition("\t")[0] != name:
                raise UserError(
                    f"{line.text!r:.60} does not belong to a document that begins with {name or 'ID'}|t|TITLE"
                )
            if tagged:
                changes.place = f"line {line.number}"
                entities += _entities(line.text, str(record.content), changes)
        except UserError as error:
            return rejected(record._replace(line=line.number), str(error))
    if len(str(record.content).encode()) > MAX_BYTES:
        return rejected(record, too_long())
    return record._replace(entities=tuple(entities) if tagged else None)


def _entities(line: str, text: str, changes: Changes) -> Iterator[CharSpan]:
    """The entity of a line; none of a relation.

    Raises:
        UserError: the line is malformed, or its offsets do not fit the text.
    """
    match = _ENTITY.fullmatch(line)
    if match is None:
        if _RELATION.fullmatch(line) is None:
            raise UserError(f"{line!r:.60} is malformed; {_WRITE}")
        changes("relations are left out", line)
        return
    start, end, stated, type = int(match[2]), int(match[3]), match[4], match[5].strip()
    if not type:
        raise UserError(f"{line!r:.60} has no entity type; {_WRITE}")
    # The title and the abstract are one text, with a character between them.
    if start >= end or " ".join(text[start:end].split()) != " ".join(stated.split()):
        raise UserError(
            f"the entity {type} from {start} to {end} is stated as {stated!r:.40}, but the text has "
            f"{text[start:end]!r:.40} there; offsets count the characters of title, a space, and abstract"
        )
    yield CharSpan(start, end, type)
