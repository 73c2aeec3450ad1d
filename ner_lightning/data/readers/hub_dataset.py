"""Reads the sentences of a data set on the Hugging Face Hub."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ner_lightning.data.readers.arrow import class_names
from ner_lightning.data.readers.checked_words import checked
from ner_lightning.data.readers.hub_download import fetch
from ner_lightning.data.readers.json_rows import JsonRow
from ner_lightning.data.readers.json_shapes import COLUMNS, with_names
from ner_lightning.data.readers.json_words import TAGS, words_field
from ner_lightning.data.readers.jsonl import records_from
from ner_lightning.data.readers.read_options import COLUMN_OPTIONS, ReadOptions
from ner_lightning.data.readers.sentences import sentences_from
from ner_lightning.data.schemes import split_tag
from ner_lightning.data.sentence import DataError, Sentence
from ner_lightning.data.tags.tag_forms import TagForm
from ner_lightning.data.tags.type_names import renamed_types
from ner_lightning.errors import UserError

# The Hub redirects the short name, which does not work offline.
ALIASES = {"conll2003": "eriktks/conll2003"}


@dataclass(frozen=True)
class HubSplit:
    """One split of a data set, and its origin, precise enough to load it again.

    Attributes:
        sentences: in the order of the rows, with BIO2 tags.
        types: the entity types in the data set's own order; None if its tags are plain strings.
        dataset: its name on the Hub.
        requested: the revision that was asked for.
        revision: the revision that was loaded.
        commit: SHA of the commit to which the revision pointed.
        split: the split.
        rows: number of rows, including those without words.
        cached: whether they come from the local cache because the Hub was unavailable.
    """

    sentences: list[Sentence]
    types: tuple[str, ...] | None
    dataset: str
    requested: str | None
    revision: str
    commit: str
    split: str
    rows: int
    cached: bool


def load_hub(
    dataset: str,
    *,
    config: str | None,
    revision: str | None,
    splits: Sequence[str],
    options: ReadOptions = ReadOptions(),
) -> HubSplit:
    """Loads one split.

    Rows without words are skipped, and a row whose only word is -DOCSTART- starts a document.

    Args:
        dataset: its name on the Hub, "org/name".
        config: its configuration; None if it has only one, or a default.
        revision: a branch, tag or commit. None is main, or the Hub's Parquet copy if main is a script.
        splits: names of the split; the first that exists is loaded.
        options: name the columns, and say how annotation is read. Tags may be strings, a ClassLabel, or
            numbers that `options.rules` names.

    Raises:
        UserError: the data set, the split or a column does not exist, or access is denied.
        DataError: a row is malformed.
    """
    name = ALIASES.get(dataset, dataset)
    version, available = fetch(name, config, revision)
    split = next((split for split in splits if split in available), None)
    if split is None:
        names = " or ".join(map(repr, splits))
        raise UserError(f"data.dataset: {name} has no split {names}; it has: {', '.join(available)}")
    rows = available[split]
    classes = class_names(rows.features.to_dict())
    sentences = _sentences(f"{version.id}[{split}]", rows, classes, options)
    return HubSplit(
        sentences=sentences,
        types=declared_types(rows.features, classes, options),
        dataset=version.id,
        requested=revision,
        revision=version.revision,
        commit=version.commit,
        split=split,
        rows=len(rows),
        cached=version.cached,
    )


def _sentences(
    where: str, rows: Any, classes: Mapping[str, Sequence[str]], options: ReadOptions
) -> list[Sentence]:
    for option in COLUMN_OPTIONS:
        column = getattr(options, option)
        if column is not None and column not in rows.features:
            raise UserError(
                f"data.files.{option}: {where} has no column {column!r}; it has: {', '.join(rows.features)}"
            )
    read = records_from(where, _rows(rows, options, classes), options, "a data set of the Hub")
    try:
        return sentences_from(where, checked(read, options.rules.empty_words), options)
    except DataError as error:
        raise DataError(
            f"{error}\nSet data.files.revision to a better one, or fix local files: --data.train ..."
        ) from None


def declared_types(
    columns: Collection[str], classes: Mapping[str, Sequence[str]], options: ReadOptions
) -> tuple[str, ...] | None:
    """The entity types that a data set declares for its column of tags; None if it declares none."""
    tags = options.tags_column or next((column for column in TAGS if column in columns), "")
    return renamed_types(types_of(classes[tags]), options.rules.renames) if tags in classes else None


def types_of(names: Sequence[str]) -> tuple[str, ...]:
    """Entity types in the order of their first tag; names that are not tags are ignored, being unused."""
    tags = TagForm.of(names).tags
    types = [split_tag(tags[name])[1] for name in names if name in tags]
    return tuple(dict.fromkeys(filter(None, types)))


def _rows(rows: Any, options: ReadOptions, classes: Mapping[str, Sequence[str]]) -> Iterator[JsonRow]:
    """The rows that have words, with their number from 0; of the columns only those that may be read."""
    asked = (options.words_column, options.tags_column, options.document_column, "document", "id")
    columns = [name for name in rows.features if name in {*asked, *COLUMNS}]
    number = -1
    for batch in rows.select_columns(columns).iter(batch_size=1000):
        for values in zip(*batch.values(), strict=True):
            number += 1
            row = dict(zip(batch, values, strict=True))
            if row.get(words_field(row, options.words_column)) != []:
                yield JsonRow(number, with_names(row, classes))
