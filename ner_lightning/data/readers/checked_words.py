"""Checks the words of records: visible, and as many as there are tags."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.read_options import EmptyWords
from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.sentence import miscounted


def checked(records: Iterable[Record], empty: EmptyWords) -> Iterator[Record]:
    """Records whose words are all visible, with as many tags; others get a reason.

    Args:
        records: the records of a file.
        empty: what is done with a word without a visible character.
    """
    changes, source = Changes(), ""
    visible: set[str] = set()  # words that were looked at
    starts = False  # whether a sentence that was left out began a document
    for record in records:
        starts = starts and record.source == source
        source = record.source
        if not record.reason and not isinstance(record.content, str):
            found = _checked_words(record, empty, changes, visible)
            if found is None:
                starts = starts or record.starts_document
                continue
            record = found
        yield record._replace(starts_document=True) if starts else record
        # What has a reason is left out of what is tagged.
        starts = bool(record.reason) and (starts or record.starts_document)
    changes.report(source)


def _checked_words(record: Record, empty: EmptyWords, changes: Changes, visible: set[str]) -> Record | None:
    words, tags = record.content, record.tags
    if (problem := miscounted(words, tags)) is not None:
        return rejected(record, problem)
    if visible.issuperset(words):
        return record
    empties = [number for number, word in enumerate(words) if is_invisible(word)]
    if not empties:
        visible.update(words)
        return record
    place = record.lines[empties[0]] if record.lines else record.line
    if empty == "refuse":
        return rejected(
            record._replace(line=place),
            f"word {words[empties[0]]!a} is empty or invisible; remove it or write a placeholder,\n"
            "or set data.files.empty_words to skip (predict: --empty_words)",
        )
    kept = [number for number in range(len(words)) if number not in empties]
    changes.place = str(place)
    for _ in empties:
        changes("empty words were left out", " ".join(words[number] for number in kept))
    if not kept:
        return None
    if tags is not None:
        tags = tuple(_carried(tags, set(empties)))
    return record._replace(
        content=tuple(words[number] for number in kept),
        tags=None if tags is None else tuple(tags[number] for number in kept),
        lines=tuple(record.lines[number] for number in kept) if record.lines else (),
        tokens=None if record.tokens is None else tuple(record.tokens[number] for number in kept),
    )


def _carried(tags: Sequence[Any], dropped: set[int]) -> list[Any]:
    """Tags in which an entity that begins at a word that is dropped begins at the next one of it."""
    found = list(tags)
    for number in range(len(tags) - 1):
        tag, following = str(found[number]), str(found[number + 1])
        if number in dropped and tag.startswith("B-") and following == f"I-{tag[2:]}":
            found[number + 1] = tag
    return found
