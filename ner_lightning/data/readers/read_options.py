"""How a file of text or annotation is read: options that all readers share, and the file that is open."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from ner_lightning.system.ranges import check_arguments

Misaligned = Literal["split", "expand", "drop"]
Overlapping = Literal["refuse", "longest", "first"]
SeveralTags = Literal["refuse", "first"]
EmptyWords = Literal["refuse", "skip"]
COLUMN_OPTIONS = ("words_column", "tags_column", "document_column")
FormatName = Literal[
    "conll", "csv", "jsonl", "parquet", "spacy", "conllu", "conll2012", "webanno", "pubtator", "brat", "txt"
]


@dataclass(frozen=True)
class AnnotationRules:
    """How annotation is read that is not one named tag for each word.

    Args:
        misaligned: an entity that begins or ends inside a word splits the word there, is expanded to
            the whole word, or is dropped.
        overlapping: of entities that share a word, the longest or the first in the file is kept;
            `refuse` rejects the file.
        several_tags: of several tags in one cell, the first is read; `refuse` rejects the file.
        empty_words: a word of no visible character is left out with its tag; `refuse` rejects the file.
        tag_names: the tags that numbers from 0 stand for.
        renames: the new name of each type that has one, empty for a type that is left out.
    """

    misaligned: Misaligned = "split"
    overlapping: Overlapping = "refuse"
    several_tags: SeveralTags = "refuse"
    empty_words: EmptyWords = "refuse"
    tag_names: tuple[str, ...] | None = None
    renames: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "rules.")


@dataclass(frozen=True)
class ReadOptions:
    """How a file is read.

    Args:
        format: a name in `formats.FORMATS`; None: recognised by the file's content, then by its name.
        words_column: the column or field with the words or the text: a name, or in columns a number from 0;
            None: recognised.
        tags_column: the same with the tags or the entities.
        document_column: the same with what tells documents apart; None: recognised, or none.
        id_column: the field or column that is copied to predictions.
        tagged: whether tags and entities are read.
        whole_files: whether a file of running text is one text; otherwise each line is one.
        rules: how annotation is read that is not one named tag for each word.
    """

    format: FormatName | None = None
    words_column: str | None = None
    tags_column: str | None = None
    document_column: str | None = None
    id_column: str = "id"
    tagged: bool = True
    whole_files: bool = False
    rules: AnnotationRules = field(default_factory=AnnotationRules)

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "")


class Opened(NamedTuple):
    """A file that is open for reading.

    Attributes:
        file: at its beginning; if it is text, in UTF-8, with or without its byte order mark.
        source: its name in messages.
        path: where it is; None for standard input.
    """

    file: BinaryIO
    source: str
    path: Path | None = None
