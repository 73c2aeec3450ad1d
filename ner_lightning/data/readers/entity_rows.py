"""Reads CSV with an entity per row: a text that is repeated, and the characters of one of its entities."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.csv_rows import CheckedRow
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.readers.stated_entities import StatedEntity, fitted
from ner_lightning.data.readers.table_cells import filled_cells
from ner_lightning.data.readers.table_layout import PREDICTED
from ner_lightning.data.readers.table_names import find
from ner_lightning.errors import UserError
from ner_lightning.system.progress import stage

TEXT, ID = ("text",), ("id", "text_id", "doc_id", "document_id")
START = ("start", "begin", "start_offset", "start_char")
END = ("end", "stop", "end_offset", "end_char")
TYPE = ("label", "tag", "type", "entity_type", "class")
STATED = ("entity_text", "entity", "mention", "surface", "value")


class EntityColumns(NamedTuple):
    """The columns of such a table, by index.

    Attributes:
        text: the text.
        start: the first character of an entity, counted from 0.
        end: the character after its last one.
        type: its type.
        id: what rows of a text share; None if there is none.
        stated: the entity's own text; None if it is not stated.
    """

    text: int
    start: int
    end: int
    type: int
    id: int | None
    stated: int | None

    @classmethod
    def of(cls, header: Sequence[str], options: ReadOptions) -> "EntityColumns | None":
        """The columns; None if a table is no such one, has columns that the user names, or is predict's."""
        own = (options.tags_column, options.words_column, options.document_column)
        if not options.tagged or own != (None, None, None) or PREDICTED.issubset(header):
            return None
        text, start, end, type_ = (find(header, *names) for names in (TEXT, START, END, TYPE))
        if text is None or start is None or end is None or type_ is None:
            return None
        return cls(text, start, end, type_, find(header, *ID), find(header, *STATED))


def entity_rows(source: str, rows: Iterable[CheckedRow], columns: EntityColumns) -> Iterator[Record]:
    """A record for each text, in the order of their first rows.

    Rows are of one text if they have the same text, and the same id where ids are not those of rows. A text
    without entities has a row without start, end and type.
    """
    stage(f"{source}: a table with an entity per row, whose text is repeated.")
    used: list[CheckedRow] = []
    for record, row in rows:
        if record.reason:
            yield record
        elif filled_cells(row):
            used.append((record, row))
    ids = [] if columns.id is None else [row[columns.id] for _, row in used]
    is_of_row = len(set(ids)) == len(used)
    texts: dict[tuple[str, str], list[CheckedRow]] = {}
    for number, (record, row) in enumerate(used):
        key = "" if is_of_row or not ids else ids[number]
        texts.setdefault((key, row[columns.text]), []).append((record, row))
    changes = Changes()
    for (key, text), own in texts.items():
        first = own[0][0]._replace(id=key or None, starts_document=True, content=text)
        changes.place = f"line {first.line}"
        wrong = None
        entities = []
        for record, row in own:
            try:
                entities += _entity(row, columns)
            except UserError as error:
                wrong = rejected(record._replace(content=text), str(error))
                break
        try:
            yield wrong or first._replace(entities=fitted(entities, text, changes))
        except UserError as error:
            yield rejected(first, str(error))
    changes.report(source)


def _entity(row: Sequence[str], columns: EntityColumns) -> list[StatedEntity]:
    """The entity of a row, if it has one.

    Raises:
        UserError: a part of it is missing, or an offset is no number.
    """
    start, end, type_ = (row[place].strip() for place in (columns.start, columns.end, columns.type))
    if not (start or end) and type_ in ("", "O"):
        return []
    try:
        # pandas writes whole numbers with a point where others are missing.
        offsets = [int(cell.removesuffix(".0")) for cell in (start, end)]
    except ValueError:
        raise UserError(
            f"start {start!r} and end {end!r} of {type_ or 'an entity'} are not both whole numbers; "
            "a text without entities has none, and no label"
        ) from None
    stated = () if columns.stated is None or not row[columns.stated] else (row[columns.stated],)
    return [StatedEntity(offsets[0], offsets[1], (type_,), stated)]
