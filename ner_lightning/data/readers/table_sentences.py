"""Puts the rows of a table with a word each together to sentences."""

from collections.abc import Iterator, Sequence
from itertools import chain

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.csv_rows import CheckedRow
from ner_lightning.data.readers.record import Record
from ner_lightning.data.readers.table_cells import filled_cells
from ner_lightning.data.readers.table_layout import TableLayout
from ner_lightning.data.readers.table_names import SENTENCE
from ner_lightning.system.progress import warn

_RECUR = "sentence ids recur after another one and begin new sentences; sort rows that belong together"


class _SentenceEnds:
    """Notes how sentences end, and says what may be meant otherwise."""

    def __init__(self, layout: TableLayout) -> None:
        self._layout = layout
        self._known: set[tuple[str, ...]] = set()
        self._recurring = Changes()
        self._has_blanks = False

    def __call__(self, cells: Sequence[str], line: int, *, blank: bool) -> None:
        """Notes the end of a sentence.

        Args:
            cells: what names it.
            line: its first line.
            blank: whether a blank row ends it.
        """
        self._has_blanks = self._has_blanks or blank
        if self._layout.has_sentences:
            name = tuple(cells)
            if name in self._known:
                self._recurring.place = f"line {line}"
                self._recurring(_RECUR, cells[0])
            self._known.add(name)

    def report(self, source: str) -> None:
        """Prints a warning for each."""
        self._recurring.report(source)
        if self._layout.borders and not (self._layout.has_sentences or self._has_blanks):
            warn(
                f"{source}: each document is one sentence, since there is no blank row and no column such "
                f"as {SENTENCE}."
            )


def sentences_of(source: str, rows: Iterator[CheckedRow], layout: TableLayout) -> Iterator[Record]:
    """A record for each sentence of rows with a word each."""
    group: list[CheckedRow] = []
    current: list[str] = [""] * len(layout.borders)
    document: str | None = None
    starts = False
    ends = _SentenceEnds(layout)
    for record, row in chain(rows, ((Record("", 0), []),)):
        blank = not record.reason and not filled_cells(row)
        if blank and record.source and layout.has_sentences:
            continue
        cells = current
        if not blank:  # a row that cannot be used belongs to the sentence that its cells name, if it has them
            own = [row[column] if column < len(row) else "" for column in layout.borders]
            cells = [cell or before for cell, before in zip(own, current, strict=True)]
        if group and (blank or cells != current):
            yield _sentence(group, layout)._replace(document=document, starts_document=starts)
            ends(current, group[0][0].line, blank=blank and bool(record.source))
            group, starts = [], False
        if blank:
            continue
        current = cells
        if layout.document is not None and not record.reason and row[layout.document]:
            starts = starts or (not group and row[layout.document] != document)
            document = row[layout.document]
        group.append((record, row))
    ends.report(source)


def _sentence(group: Sequence[CheckedRow], layout: TableLayout) -> Record:
    for record, _ in group:
        if record.reason:
            return record
    words = tuple(row[layout.content].strip(" ") for _, row in group)
    tags = None if layout.tags is None else tuple(row[layout.tags] for _, row in group)
    first, row = group[0]
    identity = None if layout.id is None else row[layout.id]
    return first._replace(
        content=words, tags=tags, id=identity, lines=tuple(record.line for record, _ in group)
    )
