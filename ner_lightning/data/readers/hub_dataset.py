"""Reads the sentences of a data set on the Hugging Face Hub."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ner_lightning.data.readers.column_layout import DOCSTART
from ner_lightning.data.readers.hub_download import fetch
from ner_lightning.data.schemes import is_tag, split_tag
from ner_lightning.data.sentence import DataError, Sentence, in_bio2, is_invisible
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
    words_column: str,
    tags_column: str,
    document_column: str | None = None,
) -> HubSplit:
    """Loads one split.

    Rows without words are skipped, and a row whose only word is -DOCSTART- starts a document.

    Args:
        dataset: its name on the Hub, "org/name".
        config: its configuration; None if it has only one, or a default.
        revision: a branch, tag or commit. None is main, or the Hub's Parquet copy if main is a script.
        splits: names of the split; the first that exists is loaded.
        words_column: the column with a list of words in each row.
        tags_column: the column with a list of tags in each row, as strings or as a ClassLabel.
        document_column: the column whose value all sentences of a document share.

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
    where = f"{version.id}, split {split}"
    rows = available[split]
    named = {"words_column": words_column, "tags_column": tags_column, "document_column": document_column}
    columns = {option: column for option, column in named.items() if column is not None}
    tag_names = _tag_names(rows, columns, where)
    return HubSplit(
        sentences=_sentences(rows, columns, tag_names, where),
        types=None if tag_names is None else types_of(tag_names),
        dataset=version.id,
        requested=revision,
        revision=version.revision,
        commit=version.commit,
        split=split,
        rows=len(rows),
        cached=version.cached,
    )


def _tag_names(rows: Any, columns: Mapping[str, str], where: str) -> tuple[str, ...] | None:
    """Checks the columns; returns the names of the tag ids, None if the tags are strings."""
    for option, column in columns.items():
        if column not in rows.features:
            raise UserError(
                f"data.files.{option}: {where} has no column {column!r}; it has: {', '.join(rows.features)}"
            )
    for option in ("words_column", "tags_column"):
        element = getattr(rows.features[columns[option]], "feature", None)
        names = getattr(element, "names", None) if option == "tags_column" else None
        if names is None and "string" not in str(getattr(element, "dtype", "")):
            raise UserError(
                f"data.files.{option}: {where}: column {columns[option]!r} must contain a list of strings "
                f"in each row, not {rows.features[columns[option]]}"
            )
    return None if names is None else tuple(names)


def types_of(names: Sequence[str]) -> tuple[str, ...]:
    """Entity types in the order of their first tag; names that are not tags are ignored, being unused."""
    types = [split_tag(name)[1] for name in names if is_tag(name)]
    return tuple(dict.fromkeys(filter(None, types)))


def _sentences(
    rows: Any, columns: Mapping[str, str], names: tuple[str, ...] | None, where: str
) -> list[Sentence]:
    """Reads the rows, and converts their tags to BIO2."""
    sentences: list[Sentence] = []
    documents: dict[str, int] = {}
    document = 0
    for number, (words, tags, *key) in enumerate(_cells(rows, list(columns.values()))):
        if words == [DOCSTART]:
            # Only a document with a sentence counts, so that indices have no gaps.
            document += bool(sentences and sentences[-1].document == document)
        elif words:
            try:
                named = _named(words, tags, names)
            except UserError as error:
                raise DataError(
                    f"{where}, row {number}: {error}\n"
                    "Set data.files.revision to a better one, or fix local files: --data.train ..."
                ) from None
            if key:
                document = documents.setdefault(str(key[0]), len(documents))
            sentences.append(Sentence(tuple(words), named, document))
    if not sentences:
        raise DataError(f"{where}: no sentence in the split")
    return in_bio2(where, sentences)


def _cells(rows: Any, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    for batch in rows.select_columns(list(dict.fromkeys(columns))).iter(batch_size=1000):
        yield from zip(*(batch[column] for column in columns), strict=True)


def _named(words: list[str | None], tags: list[Any] | None, names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Checks one row, and returns its tags by name."""
    for index, word in enumerate(words):
        if word is None or is_invisible(word):
            raise UserError(f"word {index} is empty or invisible ({word!r})")
    if tags is None or len(tags) != len(words):
        raise UserError(f"{len(words)} words but {len(tags or ())} tags")
    for tag in tags:
        if tag is None or (names is not None and not 0 <= tag < len(names)):
            raise UserError(f"tag {tag} has no name; is the split published without its tags?")
    named = tuple(tags if names is None else (names[tag] for tag in tags))
    for tag in named:
        split_tag(tag)
    return named
