"""Takes the entities and tokens of a text out of JSON, as offsets of characters."""

from collections.abc import Iterator
from typing import Any

from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.running_text import Offsets
from ner_lightning.data.sentence import SURROGATE, is_invisible
from ner_lightning.errors import UserError

_STARTS, _ENDS = ("start", "start_offset"), ("end", "end_offset")
_TYPES = ("label", "labels", "type", "tag")
_WRITE_SPAN = 'write [start, end, "TYPE"] or {"start": 0, "end": 6, "label": "TYPE"}'


def spans_in(entities: Any) -> Iterator[CharSpan]:
    """Entities as lists or objects.

    Raises:
        UserError: one is neither, or lacks an offset or a type.
    """
    if not isinstance(entities, list):
        raise UserError(f"the entities are {entities!a:.40}, which is not a list; {_WRITE_SPAN}")
    for entity in entities:
        if isinstance(entity, dict):
            start, end = (next((entity[n] for n in names if n in entity), None) for names in (_STARTS, _ENDS))
            type_ = next((entity[name] for name in _TYPES if name in entity), None)
        elif isinstance(entity, list) and len(entity) >= 3:
            start, end, type_ = entity[:3]
        else:
            raise UserError(f"the entity {entity!a:.40} is malformed; {_WRITE_SPAN}")
        if isinstance(type_, list) and len(type_) == 1:  # Label Studio
            type_ = type_[0]
        if isinstance(type_, str) and SURROGATE.search(type_):
            raise UserError(f"the type {type_!a:.40} is not text")
        if type(start) is not int or type(end) is not int or not isinstance(type_, str):
            raise UserError(f"the entity {entity!a:.60} is malformed; {_WRITE_SPAN}")
        yield CharSpan(start, end, type_)


def tokens_in(tokens: Any, text: str) -> tuple[Offsets, ...]:
    """The offsets of Prodigy's tokens; those of white space are no words.

    Raises:
        UserError: they are no list, lie outside the text, or not one after the other.
    """
    if not isinstance(tokens, list):
        raise UserError(f"field 'tokens' is {tokens!a:.40}, which is not a list")
    offsets: list[Offsets] = []
    before = 0
    for token in tokens:
        start, end = (
            (token.get(name) for name in ("start", "end")) if isinstance(token, dict) else (None, None)
        )
        if type(start) is not int or type(end) is not int or not before <= start <= end <= len(text):
            raise UserError(f"the token {token!a:.60} does not lie in the text after the one before it")
        before = end
        if not is_invisible(text[start:end]):
            offsets.append((start, end))
    return tuple(offsets)
