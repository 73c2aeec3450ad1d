"""Memory: reads sentences from Python: pairs, dicts, a data frame or a `datasets.Dataset`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ner_lightning.data.corpus_settings import Files
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
        value = self.given[split]
        if len(value) == 0:
            raise UserError(f"{split}: there is no sentence in what was given")
        self.files.warn_of_unused_rules(f"the {split} sentences from memory")
        names, types = _tag_names(value, self.files.tags_column)
        return Split.of(self._pairs(split, value, names), f"{split} sentences from memory", types)

    def _pairs(
        self, split: str, value: Any, names: tuple[str, ...] | None
    ) -> Iterator[tuple[list[str], list[str]]]:
        for number, row in enumerate(_rows(value), start=1):
            if isinstance(row, Mapping):
                for column in (self.files.words_column, self.files.tags_column):
                    if column not in row:
                        columns = ", ".join(map(str, row))
                        raise UserError(
                            f"{split}, sentence {number}: no {column!r} among {columns}; "
                            "name the columns: files=Files(words_column=..., tags_column=...)"
                        )
                words, tags = row[self.files.words_column], row[self.files.tags_column]
            elif isinstance(row, tuple | list) and len(row) == 2:
                words, tags = row
            else:
                raise UserError(f"{split}, sentence {number}: expected words and tags, got {row!r:.60}")
            if any(isinstance(part, str) for part in (words, tags)):
                raise UserError(f"{split}, sentence {number}: expected lists of words and of tags, got text")
            yield list(words), [tag if names is None else names[tag] for tag in tags]


def _rows(value: Any) -> Iterable[Any]:
    """The sentences of a data frame or another iterable."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a data frame
        return list(value.to_dict("records"))
    rows: Iterable[Any] = value
    return rows


def _tag_names(value: Any, column: str) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The tag names of a `datasets.Dataset`, and its entity types in their order."""
    feature = (getattr(value, "features", None) or {}).get(column)
    names = getattr(getattr(feature, "feature", None), "names", None)
    if names is None:
        return None, None
    from ner_lightning.data.readers.hub_dataset import types_of

    return tuple(names), types_of(names)
