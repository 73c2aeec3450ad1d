"""Takes the entities of a text out of JSON: lists or objects of offsets, a type, and perhaps their text."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from ner_lightning.data.readers.counting import Counting, same_words
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.stated_entities import Changed, StatedEntity, fitted
from ner_lightning.data.sentence import SURROGATE
from ner_lightning.errors import UserError

PARAGRAPHS = (
    "labels of Label Studio that mark paragraphs of a dialogue (ParagraphLabels), not one text;\n"
    'write each paragraph as a row of its own: {"text": "Vera left.", "label": [[0, 4, "PER"]]}'
)
_PAGE = (
    "a label of Label Studio in a web page (HyperText), whose offsets do not fit the page's source;\n"
    "annotate plain text (Text), or write the text of the page and offsets in it"
)
_STARTS, _ENDS = ("start", "start_offset", "begin"), ("end", "end_offset")
_TYPES = ("label", "labels", "hypertextlabels", "type", "tag", "entityLabel", "entity_group", "entity_type")
_TYPE_OR_TEXT = "entity"  # a type in Rasa's data and transformers' pipelines, a text in Chinese corpora
# Fields with the text of an entity, or with another name of it.
_TEXTS = ("value", "word", "surface", "mention", "name", _TYPE_OR_TEXT)
_WRITE = 'write [start, end, "TYPE"] or {"start": 0, "end": 6, "label": "TYPE"}'
_ABSENT = "entities state a text that does not occur in that of their row; it was not compared"


def spans_of(
    entities: Any, text: str, changed: Changed, counting: Counting | None = None
) -> tuple[CharSpan, ...]:
    """The entities of a text in characters; see `fitted`.

    Raises:
        UserError: one is malformed, or states another text than there is.
    """
    return fitted(tuple(entities_of(entities, text, changed)), text, changed, counting)


def entities_of(entities: Any, text: str, changed: Changed) -> Iterator[StatedEntity]:
    """Entities as lists or objects, a list for each field, or offsets by type and text, as in CLUENER.

    Raises:
        UserError: one is none of these, or lacks an offset or a type.
    """
    if isinstance(entities, dict) and _is_by_type(entities):
        for type_, mentions in entities.items():
            for stated, places in mentions.items():
                for place in places:
                    yield _of_list([*place[:2], type_], place)._replace(stated=(stated,))
        return
    if isinstance(entities, dict) and _is_table(entities):
        entities = [
            dict(zip(entities, values, strict=True)) for values in zip(*entities.values(), strict=True)
        ]
    if not isinstance(entities, list):
        raise UserError(f"the entities are {entities!r:.40}, which is not a list; {_WRITE}")
    for entity in entities:
        if isinstance(entity, dict):
            yield _of_object(entity, text, changed)
        elif isinstance(entity, list) and len(entity) >= 3:
            yield _of_list(entity, entity)
        else:
            raise UserError(f"the entity {entity!r:.40} is malformed; {_WRITE}")


def _is_by_type(entities: Mapping[str, Any]) -> bool:
    """Whether entities are offsets by type and text: `{"PER": {"Vera": [[0, 3]]}}`."""
    mentions = list(entities.values())
    if not all(isinstance(each, dict) for each in mentions):
        return False
    places = [places for each in mentions for places in each.values()]
    return all(isinstance(each, list) for each in places) and all(
        isinstance(place, list) and len(place) == 2 for place in chain.from_iterable(places)
    )


def _is_table(entities: Mapping[str, Any]) -> bool:
    """Whether entities are a list for each field, as `datasets` stores lists of objects."""
    values = list(entities.values())
    return bool(values) and all(isinstance(each, list) and len(each) == len(values[0]) for each in values)


def _of_list(entity: Sequence[Any], given: Any) -> StatedEntity:
    """An entity of offsets, a type and, before or after it, its text; `given` is what the file has.

    Raises:
        UserError: an offset is no number, or the type no string.
    """
    start, end = _offset(entity[0], given), _offset(entity[1], given)
    types = (_type(entity[2], given), *filter(_is_text, entity[3:]))
    return StatedEntity(start, end, tuple(dict.fromkeys(types)))


def _of_object(entity: Mapping[str, Any], text: str, changed: Changed) -> StatedEntity:
    """An entity of fields.

    Raises:
        UserError: one is missing, or holds something else.
    """
    if "paragraphlabels" in entity:
        raise UserError(PARAGRAPHS)
    start, end = (_first(entity, names) for names in (_STARTS, _ENDS))
    types = [entity[name] for name in _TYPES if entity.get(name) is not None]
    names = [name for name in _TEXTS if types or name != _TYPE_OR_TEXT]
    types = types or [entity[name] for name in (_TYPE_OR_TEXT,) if name in entity]
    fields = {"start": start, "end": end, "label": types or None}
    missing = [name for name, value in fields.items() if value is None]
    if missing == ["label"]:
        raise UserError(_unlabelled(entity))
    if missing:
        raise UserError(
            f"an entity has no field {' or '.join(missing)} (its fields: {', '.join(entity) or 'none'});\n"
            f"{_WRITE}, the end exclusive"
        )
    strings = list(dict.fromkeys([_type(types[0], entity), *filter(_is_text, map(_single, types[1:]))]))
    if len(strings) > 1 and not _occurs(strings[0], text):
        strings = strings[:1]  # a type, whatever the others are
    stated = [entity["text"]] if _is_text(entity.get("text")) else []
    if isinstance(start, str) and "startOffset" in entity:
        place = entity.get("globalOffsets")
        start, end = (place.get(name) if isinstance(place, dict) else None for name in ("start", "end"))
        if not (stated and type(start) is type(end) is int and same_words(text[start:end], stated[0])):
            raise UserError(_PAGE)
    for value in (entity[name] for name in names if _is_text(entity.get(name))):
        if _occurs(value, text):
            stated.append(value)
        elif value not in strings:
            changed(_ABSENT, value)
    return StatedEntity(_offset(start, entity), _offset(end, entity), tuple(strings), tuple(stated))


def _first(entity: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((entity[name] for name in names if entity.get(name) is not None), None)


def _single(value: Any) -> Any:
    """What a list of one holds, as Label Studio writes a label; other values as they are."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _occurs(words: str, text: str) -> bool:
    """Whether words occur in a text, not within a word of letters from A to Z."""
    pattern = r"\s+".join(map(re.escape, words.split()))
    return bool(pattern) and bool(re.search(rf"(?<!\w){pattern}(?!\w)", text, re.ASCII | re.IGNORECASE))


def _type(value: Any, entity: Any) -> str:
    """The type of an entity, which Label Studio lists.

    Raises:
        UserError: there is none, or several, or it is no string.
    """
    if value == []:
        raise UserError(_unlabelled(entity))
    if isinstance(value, list) and len(value) > 1:
        raise UserError(f"an entity with several labels, {', '.join(map(str, value))}; leave it one")
    name = _single(value)
    if isinstance(name, int | float):
        raise UserError(f"the type of the entity {entity!r:.60} is a number, {name}; write its name")
    if not isinstance(name, str):
        raise UserError(f"the entity {entity!r:.60} is malformed; {_WRITE}")
    if SURROGATE.search(name):
        raise UserError(f"the type {name!r:.40} is not text")
    return name


def _unlabelled(entity: Any) -> str:
    return f"an entity without a label, {entity!r:.80}; label it, as label, or remove it"


def _offset(value: Any, entity: Any) -> int:
    """An offset, which tables may hold as a decimal number: 6.0.

    Raises:
        UserError: it is no whole number.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise UserError(f"the entity {entity!r:.60} is malformed: {value!r:.20} is no offset; {_WRITE}")
    return value
