"""Rivals: columns beside that of the tags, which are checked to the end of a file for tags of their own."""

from typing import NamedTuple

from ner_lightning.data.readers.column_kinds import BOTH_TAGGED, has_entities
from ner_lightning.data.readers.column_layout import ColumnLayout
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.sentence import DataError


class Rivals(NamedTuple):
    """The columns beside that of the tags, which must not have tags as well.

    Attributes:
        tag: the column of tags that is read; None if tags are not read.
        cells: the different cells of each column that might be a rival, as they are met.
    """

    tag: int | None
    cells: dict[int, set[str]]

    @classmethod
    def of(cls, layout: ColumnLayout, options: ReadOptions) -> "Rivals":
        """The rivals of a file; none if the column of tags was asked for."""
        if not options.tagged:
            return cls(None, {})
        others = set(range(layout.width)) - {layout.word, layout.tag, layout.document, layout.counted}
        return cls(layout.tag, {} if options.tags_column else {other: set() for other in others})

    def check(self, where: str) -> None:
        """Checks what was met.

        Raises:
            DataError: another column turned out to have tags of entities.
        """
        for column, cells in self.cells.items():
            if has_entities(cells):
                raise DataError(f"{where}: {BOTH_TAGGED.format(f'{column} and {self.tag}')}")
