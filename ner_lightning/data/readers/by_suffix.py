"""Reads a file of annotated sentences with the reader that its suffix names."""

from pathlib import Path

from ner_lightning.data.readers.columns import read_conll
from ner_lightning.data.readers.jsonl import JSON_SUFFIXES, read_jsonl
from ner_lightning.data.readers.table import CSV_SUFFIXES, read_csv
from ner_lightning.data.sentence import Sentence

# The formats whose columns have names; every other file has CoNLL columns.
NAMED = dict.fromkeys(CSV_SUFFIXES, read_csv) | dict.fromkeys(JSON_SUFFIXES, read_jsonl)


def read_sentences(
    path: str | Path,
    *,
    word_column: int | None = None,
    tag_column: int | None = None,
    words_field: str = "tokens",
    tags_field: str = "ner_tags",
    document_field: str = "document",
    tagged: bool = True,
) -> list[Sentence]:
    """Reads JSONL if the name ends in .jsonl, .ndjson or .json, CSV for .csv, and CoNLL columns otherwise.

    Arguments and errors are those of `read_jsonl`, `read_csv` and `read_conll`.
    """
    reader = NAMED.get(Path(path).suffix.lower())
    if reader is None:
        return read_conll(path, word_column=word_column, tag_column=tag_column, tagged=tagged)
    fields = {"words_field": words_field, "tags_field": tags_field, "document_field": document_field}
    return reader(path, **fields, tagged=tagged)
