"""Entities in CoNLL-U's MISC as brackets, as in GUM and CorefUD: `Entity=(1-person(2-place)1)`."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ner_lightning.data.schemes import Span
from ner_lightning.errors import UserError

_BRACKET = re.compile(r"\(([^()]+)(\))?|([^()]+)\)")
_IDENTIFIER = re.compile(r"e?\d+(?:\[\d+/\d+\])?", re.ASCII)
_PART = re.compile(r"([^-\[]+)\[(\d{1,9})/\d{1,9}\]", re.ASCII)
_FIELDS = re.compile(r"#\s*global\.Entity\s*=\s*(\S+)\s*")
_TYPE_FIELDS = ("etype", "entity")


class Bracketed(NamedTuple):
    """Where brackets are.

    Attributes:
        word: index of the word; of an empty node, that of the next word.
        is_word: whether it is a word, not an empty node.
        value: the brackets.
        line: the line.
    """

    word: int
    is_word: bool
    value: str
    line: int


class _Mention:
    """An entity that is open or complete."""

    def __init__(self, name: str, type_: str, start: int, line: int) -> None:
        self.name, self.type, self.start, self.line = name, type_, start, line
        self.end = -1  # after its last word; it is open


def type_field(comment: str) -> int | None:
    """Which of an entity's fields is its type, by the comment `# global.Entity = GRP-etype-...`."""
    match = _FIELDS.fullmatch(comment)
    fields = [] if match is None else match[1].split("-")
    return next((fields.index(name) for name in _TYPE_FIELDS if name in fields), None)


def bracketed_spans(
    values: Iterable[Bracketed], field: int | None, changed: Callable[[str, str, int], None]
) -> list[Span]:
    """The entities of a sentence, in the order in which they begin.

    Args:
        values: the brackets of the sentence, in order.
        field: from `type_field`; None: the first field that is no number.
        changed: called with the kind of a change, the entity's name, and the line.

    Raises:
        UserError: a bracket is malformed, does not match, or names no type.
    """
    mentions: list[_Mention] = []
    for place in values:
        last = place.word + place.is_word
        rest = place.value
        while rest:
            match = _BRACKET.match(rest)
            if match is None:
                raise UserError(
                    f"the entities {place.value!r:.60} are malformed; write (1-TYPE and 1), or (TYPE)"
                )
            rest = rest[match.end() :]
            if match[1] is not None:
                mention = _Mention(match[1], _type(match[1], field), place.word, place.line)
                mentions.append(mention)
            else:
                mention = _opened(mentions, match[3])
            if match[1] is None or match[2] is not None:
                mention.end = last
    unclosed = next((mention for mention in mentions if mention.end < 0), None)
    if unclosed is not None:
        raise UserError(
            f"the entity {unclosed.name!r:.40} does not end in its sentence; close it with a bracket"
        )
    joined = _joined(mentions, changed)
    for mention in joined:
        if mention.end <= mention.start:
            changed("entities have no word but empty nodes, and were left out", mention.name, mention.line)
    return [Span(m.type, m.start, m.end) for m in joined if m.end > m.start]


def _type(name: str, field: int | None) -> str:
    """The type in `1-person-giv` or `person-1`.

    Raises:
        UserError: there is none.
    """
    fields = name.split("-")
    if field is not None:
        type_ = fields[field] if field < len(fields) else ""
    else:
        type_ = next((part for part in fields[:2] if not _IDENTIFIER.fullmatch(part)), "")
    if type_.strip() in ("", "_"):
        raise UserError(f"the entity {name!r:.40} has no type; write one, as in (1-person")
    return type_.strip()


def _opened(mentions: list[_Mention], name: str) -> _Mention:
    """The last open entity that a closing bracket names, by all of its fields or the first ones.

    Raises:
        UserError: there is none.
    """
    for mention in reversed(mentions):
        if mention.end < 0 and f"{mention.name}-".startswith(f"{name}-"):
            return mention
    raise UserError(f"the entity {name!r:.40} ends here, but does not begin in the sentence")


def _joined(mentions: list[_Mention], changed: Callable[[str, str, int], None]) -> list[_Mention]:
    """The entities, each of those in parts (`e1[1/2]`, `e1[2/2]`) as one from the first to the last word."""
    entities: list[_Mention] = []
    first_parts: dict[str, _Mention] = {}
    for mention in mentions:
        part = _PART.match(mention.name)
        if part is not None and int(part[2]) > 1 and part[1] in first_parts:
            first = first_parts[part[1]]
            first.end = max(first.end, mention.end)
            kind = "parts of discontinuous entities were read with the words between them"
            changed(kind, mention.name, mention.line)
            continue
        if part is not None:
            first_parts[part[1]] = mention
        entities.append(mention)
    return entities
