"""Reads entities whose labels are tags, B-PER and I-PER, as the entities that they mean, or refuses them."""

from collections import defaultdict
from collections.abc import Iterable

from ner_lightning.data.invisible import visible
from ner_lightning.data.readers.record import CharSpan, Record
from ner_lightning.data.schemes import OUTSIDE, is_tag, split_tag
from ner_lightning.data.sentence import DataError
from ner_lightning.system.progress import warn
from ner_lightning.system.terminal import listed

_LISTED = 4  # labels that a message names


def without_tag_labels(name: str, records: list[Record]) -> list[Record]:
    """Records in which no entity has a tag for its label.

    Some projects annotate with the labels B-PER, I-PER and O. Where all labels are tags, the entities that
    they mean are read. A label that only looks like a tag, such as B-cell, remains a type.

    Args:
        name: where the records come from, for messages.
        records: the records.

    Raises:
        DataError: some labels are tags, and others are not.
    """
    labels = {visible(entity.type) for record in records for entity in record.entities or ()}
    tags = sorted(filter(is_tag, labels))
    if not tags:
        return records
    letters = defaultdict(set)  # of the tags of each type
    for tag in tags:
        letter, type_ = split_tag(tag)
        letters[type_].add(letter)
    are_tags = OUTSIDE in tags or any(len(each) > 1 for each in letters.values())
    named = listed(tags, _LISTED)
    if len(tags) == len(labels) > (OUTSIDE in tags) and (are_tags or all(map(str.isupper, letters))):
        warn(f"{name}: the labels {named} are read as tags: B-PER and an I-PER after it are one entity PER.")
        return [_merged(record) if record.entities else record for record in records]
    if are_tags:
        record = next(
            each for each in records for entity in each.entities or () if is_tag(visible(entity.type))
        )
        raise DataError(
            f"{record.source}:{record.line}: the labels of entities are tags in part ({named});\n"
            "label a whole entity once, as PER, and nothing as O"
        )
    warn(f"{name}: labels such as {tags[0]} look like tags; they are read as types of entities.")
    return records


def _merged(record: Record) -> Record:
    """The record with the entities that its labels mean as tags; see `schemes.spans`."""
    return record._replace(entities=tuple(_entities(str(record.content), record.entities or ())))


def _entities(text: str, labelled: Iterable[CharSpan]) -> list[CharSpan]:
    found: list[CharSpan] = []
    before = ""  # the letter of the last one
    for start, end, label in sorted(set(labelled)):
        letter, type_ = split_tag(visible(label))
        if letter == OUTSIDE:
            continue
        last = found[-1] if found else CharSpan(0, 0, "")
        is_next = last.end <= start and not text[last.end : start].strip()
        if letter in "IE" and before in "BI" and last.type == type_ and is_next:
            found[-1] = last._replace(end=end)
        else:
            found.append(CharSpan(start, end, type_))
        before = letter
    return found
