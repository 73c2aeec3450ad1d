"""Predictions as CoNLL columns: words and predicted tags, and once a warning that a word is changed."""

from collections.abc import Callable, Sequence

from ner_lightning.data.readers.column_cells import DOCSTART
from ner_lightning.data.readers.record import Record
from ner_lightning.data.schemes import OUTSIDE
from ner_lightning.data.writers.column_writer import cell_of
from ner_lightning.inference.result import Tagged
from ner_lightning.system.progress import warn


def column_rows(types: Sequence[str], *, tabs: bool) -> Callable[[Record, Tagged], str]:
    """Makes the rows of a text, with a blank line after each sentence.

    Rows are written as they are made, so that no word decides what separates columns: tabs where they are
    asked for, or if a type contains a space. Otherwise spaces within words become `_`. A word that is
    changed is said, once.

    Args:
        types: the entity types.
        tabs: separate columns by tabs in any case.
    """
    between = "\t" if tabs or any(" " in name for name in types) else " "
    said: list[str] = []

    def cell(text: str) -> str:
        written = cell_of(text) if between == "\t" else cell_of(text).replace(" ", "_")
        written = written or "_"
        if written != text and not said:
            said.append(text)
            warn(f"columns cannot hold words such as {text!r:.40}, written as {written!r:.40}; JSONL can.")
        return written

    def rows(record: Record, tagged: Tagged) -> str:
        lines = [f"{DOCSTART}{between}{OUTSIDE}", ""] if record.starts_document else []
        tags = iter(tagged.tags)
        for sentence in tagged.document.words:
            lines += [f"{cell(word)}{between}{cell(next(tags))}" for word in sentence]
            lines.append("")
        return "".join(line + "\n" for line in lines)

    return rows
