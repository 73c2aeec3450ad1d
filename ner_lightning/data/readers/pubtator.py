"""Reads PubTator: `ID|t|TITLE` and `ID|a|ABSTRACT`, and below them a line for each entity, by characters."""

import re
from collections.abc import Iterator, Mapping, Sequence

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.read_options import Opened, ReadOptions
from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.readers.stated_entities import MisfitError, StatedEntity, fitted
from ner_lightning.data.readers.text_lines import MAX_BYTES, Line, lines, too_long
from ner_lightning.errors import UserError

_TEXT = re.compile(r"([^|\t]+)\|([ta])\|(.*)")
_ENTITY = re.compile(r"([^\t]*)\t(\d{1,9})\t(\d{1,9})\t([^\t]*)\t([^\t]*)(?:\t.*)?", re.ASCII)
_RELATION = re.compile(r"[^\t]*\t[^\t]*[^\t\d][^\t]*\t.*")  # what follows the id is no number
_RULE = "offsets count the characters of title, a space, and abstract, the end is exclusive"
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
    entities: dict[int, StatedEntity] = {}  # by their lines
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
            if tagged and (entity := _entity(line.text)) is not None:
                entities[line.number] = entity
            elif tagged:
                changes.place = f"line {line.number}"
                changes("relations are left out", line.text)
        except UserError as error:
            return rejected(record._replace(line=line.number), str(error))
    if len(str(record.content).encode()) > MAX_BYTES:
        return rejected(record, too_long())
    return _with_entities(record, entities, changes) if tagged else record


def _with_entities(record: Record, entities: Mapping[int, StatedEntity], changes: Changes) -> Record:
    """The record of a text with its entities; rejected if one does not fit the text."""
    changes.place = f"line {record.line}"
    try:
        # The title and the abstract are one text, with a character between them.
        spans = fitted(list(entities.values()), str(record.content), changes, rule=_RULE)
    except MisfitError as error:
        return rejected(record._replace(line=list(entities)[error.place]), str(error))
    return record._replace(entities=spans)


def _entity(line: str) -> StatedEntity | None:
    """The entity of a line; None if it is a relation.

    Raises:
        UserError: the line is malformed.
    """
    match = _ENTITY.fullmatch(line)
    if match is None:
        if _RELATION.fullmatch(line) is None:
            raise UserError(f"{line!r:.60} is malformed; {_WRITE}")
        return None
    start, end, stated, type = int(match[2]), int(match[3]), match[4], match[5].strip()
    if not type:
        raise UserError(f"{line!r:.60} has no entity type; {_WRITE}")
    if not stated.strip():
        raise UserError(f"the entity {type} from {start} to {end} has no text; {_WRITE}")
    return StatedEntity(start, end, (type,), (stated,))
