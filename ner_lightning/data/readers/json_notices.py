"""Says how a file of JSON rows is read, and counts what is left out or chosen in it."""

from collections import Counter

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.json_rows import JsonRow
from ner_lightning.data.readers.json_spans import own_text, region_fields
from ner_lightning.data.readers.label_studio import (
    controls,
    has_predictions_alone,
    has_several,
    is_skipped,
    is_task,
    others,
)
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.record import Record
from ner_lightning.data.sentence import DataError
from ner_lightning.system.progress import stage, warn


class JsonNotices:
    """Counts what is left out or chosen in a file of JSON rows.

    Attributes:
        changes: what is changed in its annotation.

    Args:
        source: the file, for messages.
        options: how it is read.
        kind: the format, for the line that says how the file is read.
    """

    def __init__(self, source: str, options: ReadOptions, kind: str) -> None:
        self.changes = Changes()
        self._source, self._options, self._kind = source, options, kind
        self._counts: Counter[str] = Counter()
        self._fields: dict[str, None] = {}  # that list labelled regions

    def is_left_out(self, row: JsonRow) -> bool:
        """Whether the annotator left a row out, which then is counted."""
        is_left_out = self._options.tagged and is_skipped(row.value)
        self._counts["skipped"] += is_left_out
        return is_left_out

    def add(self, row: JsonRow, record: Record) -> None:
        """Says how the file is read, and which rows may be meant otherwise, each once; counts the row."""
        counts, value = self._counts, row.value
        if not counts["rows"]:
            within = f", listed in {row.within!r}" if row.within else ""
            stage(f"{self._source}: {self._kind} with {_what(record)}{within}.")
        counts["rows"] += 1
        if self._options.tagged:
            counts["several"] += has_several(value)
            counts["predicted"] += has_predictions_alone(value)
            counts["others"] += others(value)
            self._add_fields(value)
        elif not isinstance(record.content, str) and record.text is None and own_text(value):
            counts["words"] += 1
            if counts["words"] == 1:
                warn(
                    f"{self._source}:{row.number}: the words are not those of the text beside them; the "
                    "words are tagged (--words_column NAME for the text)"
                )

    def _add_fields(self, value: object) -> None:
        """Counts the rows of Label Studio, which leaves out fields and controls without entities."""
        if not isinstance(value, dict):
            return
        asked = self._options.tags_column
        found = controls(value) if is_task(value) else list(value)
        self._counts["tasks"] += is_task(value)
        self._counts["with entities"] += asked in found
        self._counts["may lack them"] += "annotation_id" in value or is_task(value)
        if is_task(value):
            self._fields |= dict.fromkeys(found)
        elif asked is None and own_text(value):
            self._fields |= dict.fromkeys(region_fields(value))

    def report(self) -> None:
        """Says what was counted.

        Raises:
            DataError: no row has the field that is to have the entities.
        """
        counts, source = self._counts, self._source
        self.changes.report(source)
        asked = self._options.tags_column
        if asked is not None and counts["may lack them"] and not counts["with entities"]:
            if counts["tasks"]:
                listed = ", ".join(self._fields) or "none"
                raise DataError(f"{source}:1: no label is of the control {asked!r} (controls: {listed})")
            raise DataError(f"{source}:1: no row has the field {asked!r}, which is to hold the entities")
        if skipped := counts["skipped"]:
            warn(
                f"{source}: {skipped:,} rows are left out: not annotated, or rejected, ignored or cancelled."
            )
        if other := counts["others"]:
            warn(
                f"{source}: {other:,} results that mark no text, such as choices or relations, are left out."
            )
        if predicted := counts["predicted"]:
            warn(f"{source}: {predicted:,} tasks have no annotation; the predictions of a model are read.")
        if several := counts["several"]:
            warn(
                f"{source}: {several:,} tasks have several annotations; the first of each is read, or its "
                "ground truth."
            )
        if len(self._fields) > 1 and asked is None:
            what = "controls" if counts["tasks"] else "fields"
            warn(
                f"{source}: the entities in the {what} {' and '.join(self._fields)} are all read; to read "
                "one of them alone, name it: data.files.tags_column."
            )


def _what(record: Record) -> str:
    if not isinstance(record.content, str):
        return "lists of words"
    return "texts" if record.entities is None else "texts with entities"
