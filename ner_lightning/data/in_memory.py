"""Memory: reads sentences from Python: `Sentence`, pairs, dicts, a data frame or a `datasets.Dataset`."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ner_lightning.data.corpus_settings import Files
from ner_lightning.data.readers.arrow import class_names
from ner_lightning.data.readers.checked_words import checked
from ner_lightning.data.readers.hub_dataset import declared_types
from ner_lightning.data.readers.json_rows import JsonRow
from ner_lightning.data.readers.json_shapes import with_names
from ner_lightning.data.readers.json_words import TAGS, WORDS
from ner_lightning.data.readers.jsonl import DOCUMENT, records_from
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.sentences import sentences_from
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sources import SentenceSource, Split
from ner_lightning.errors import UserError


@dataclass(frozen=True)
class Memory(SentenceSource):
    """Splits from memory, and other splits from another source.

    Args:
        given: the sentences of some splits, by the split's name.
        files: the names of the columns with words and tags, for what has columns.
        others: reads the other splits.
    """

    given: Mapping[str, Any]
    files: Files
    others: SentenceSource

    def read(self, split: str) -> Split:
        """Reads a split; see `SentenceSource.read`."""
        if split not in self.given:
            return self.others.read(split)
        return split_of(split, self.given[split], self.files)


def split_of(split: str, value: Any, files: Files = Files()) -> Split:
    """What was given as a split.

    Args:
        split: its name, for messages.
        value: sentences with tags: `Sentence`, pairs, dicts, a dict of columns, a data frame or a
            `datasets.Dataset`.
        files: the names of the columns with words and tags, for what has columns.

    Raises:
        UserError: there is no sentence, or one cannot be used.
    """
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise UserError(
            f"{split}: expected sentences, got {value!r:.60}; read_sentences reads those of a file"
        )
    if isinstance(value, Mapping):
        _check_columns(split, value)
    if not hasattr(value, "__len__"):  # a generator
        value = list(value)
    if len(value) == 0:
        raise UserError(f"{split}: there is no sentence in what was given")
    where = f"{split} sentences from memory"
    options = files.options()
    features = getattr(value, "features", None) or {}
    classes = class_names(features.to_dict() if hasattr(features, "to_dict") else None)
    dicts = enumerate(_dicts(where, value, options), start=1)
    rows = (JsonRow(number, with_names(row, classes)) for number, row in dicts)
    records = records_from(where, rows, options, "Python objects")
    sentences = sentences_from(where, checked(records, options.rules.empty_words), options)
    digest = hashlib.sha256(json.dumps([(s.words, s.tags) for s in sentences]).encode()).hexdigest()
    return Split(sentences, declared_types(features, classes, options), where, f"sha256:{digest}")


def _check_columns(split: str, value: Mapping[Any, Any]) -> None:
    """Checks that a dict has columns of one length.

    Raises:
        UserError: it has splits, as a `datasets.DatasetDict` has, or something else.
    """
    columns = list(value.values())
    if any(hasattr(column, "column_names") for column in columns):
        names = ", ".join(map(str, value))
        raise UserError(
            f"{split}: got a dict of the splits {names}; give each split, as in train=data['train']"
        )
    listed = all(hasattr(column, "__len__") and not isinstance(column, str) for column in columns)
    if not listed or len({len(column) for column in columns}) != 1:
        raise UserError(f"{split}: got a dict that has no columns of one length; give a list of sentences")


def _dicts(where: str, value: Any, options: ReadOptions) -> Iterator[dict[str, Any]]:
    """Each sentence as a dict with lists.

    Raises:
        UserError: one is neither a sentence, nor a dict, nor a pair of words and tags.
    """
    document = options.document_column or DOCUMENT
    words, tags = options.words_column or WORDS[0], options.tags_column or TAGS[0]
    for number, row in enumerate(_rows(value), start=1):
        if isinstance(row, Sentence):
            if row.tags is None:
                raise UserError(f"{where}:{number}: this sentence was read without tags")
            yield {words: list(row.words), tags: list(row.tags), document: row.document}
        elif isinstance(row, Mapping):
            yield {name: _plain(cell) for name, cell in row.items()}
        elif isinstance(row, tuple | list) and len(row) == 2 and not isinstance(row[1], dict):
            if any(isinstance(part, str) for part in row):
                raise UserError(f"{where}:{number}: expected lists of words and of tags, got text")
            if row[1] is None:
                raise UserError(f"{where}:{number}: this sentence has no tags")
            yield {words: list(row[0]), tags: list(row[1])}
        elif isinstance(row, tuple | list) and len(row) == 2 and isinstance(row[0], str):
            yield {**_plain(row[1]), "text": row[0]}  # spaCy's pairs
        else:
            raise UserError(f"{where}:{number}: expected words and tags, got {row!r:.60}")


def _plain(cell: Any) -> Any:
    """A cell whose arrays and tuples are lists, and numbers those of Python, at any depth."""
    if hasattr(cell, "tolist"):
        return cell.tolist()
    if isinstance(cell, tuple | list):
        return [_plain(each) for each in cell]
    return {name: _plain(each) for name, each in cell.items()} if isinstance(cell, Mapping) else cell


def _rows(value: Any) -> Iterable[Any]:
    """The sentences of a data frame, of a dict of columns, or of another iterable."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a data frame
        return list(value.to_dict("records"))
    if isinstance(value, Mapping):
        return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]
    rows: Iterable[Any] = value
    return rows
