"""Reads a file of annotated sentences with the reader that its suffix names."""

from pathlib import Path

from ner_lightning.data.readers.char_spans import AnnotationRules
from ner_lightning.data.readers.columns import read_conll
from ner_lightning.data.readers.jsonl import JSON_SUFFIXES, read_jsonl
from ner_lightning.data.readers.table import CSV_SUFFIXES, read_csv
from ner_lightning.data.sentence import Sentence

NAMED = (*CSV_SUFFIXES, *JSON_SUFFIXES)  # their columns have names; every other file has CoNLL columns


def read_sentences(
    path: str | Path,
    *,
    word_column: int | None = None,
    tag_column: int | None = None,
    words_field: str = "tokens",
    tags_field: str = "ner_tags",
    document_field: str = "document",
    rules: AnnotationRules = AnnotationRules(),
    tagged: bool = True,
) -> list[Sentence]:
    """Reads JSONL if the name ends in .jsonl, .ndjson or .json, CSV for .csv, and CoNLL columns otherwise.

    Arguments and errors are those of `read_jsonl`, `read_csv` and `read_conll`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in NAMED:
        return read_conll(path, word_column=word_column, tag_column=tag_column, tagged=tagged)
    fields = {"words_field": words_field, "tags_field": tags_field, "document_field": document_field}
    if suffix in CSV_SUFFIXES:
        return read_csv(path, **fields, tagged=tagged)
    return read_jsonl(path, **fields, rules=rules, tagged=tagged)
