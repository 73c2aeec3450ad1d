"""LabelSet and tag schemes: IOB1, BIO2, BIOES to and from spans; legal BIO2 transitions."""

import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import NamedTuple, Self

from ner_lightning.data.invisible import is_visible
from ner_lightning.errors import UserError

OUTSIDE = "O"
UNKNOWN = "?"  # the tag of a word that nobody has annotated
UNKNOWN_ID, UNTAGGED_ID = -1, -2  # the latter of a word in text that was given without tags
# BILOU has Last and Unit, BMES has Middle, where BIOES has End, Single and Inside.
_ALIASES = {"L": "E", "U": "S", "M": "I"}
_NONE = frozenset((OUTSIDE, UNKNOWN))
_LETTERS = frozenset("BIES") | _ALIASES.keys()
_SECOND = re.compile(r"[,;|/](?:O$|[BIESLUM]-)")  # a second tag, as in B-PER,B-LOC


class Span(NamedTuple):
    """An entity of a sentence.

    Attributes:
        type: entity type, such as "PER".
        start: index of its first word.
        end: index after its last word.
    """

    type: str
    start: int
    end: int


class Scheme(StrEnum):
    """How tags mark the first and last word of an entity.

    IOB1 has I- throughout, and B- only where an entity directly follows another one of its type.
    BIO2 begins every entity with B-. BIOES also ends entities with E-, and has S- for entities of one word.
    """

    IOB1 = "IOB1"
    BIO2 = "BIO2"
    BIOES = "BIOES"


@lru_cache(maxsize=4096)
def split_tag(tag: str) -> tuple[str, str]:
    """Splits a tag at its first hyphen: a type may contain hyphens ("B-creative-work").

    Returns:
        One of B, I, E and S (L, U and M are read as E, S and I) and the type; ("O", "") for "O", and
        ("?", "") for "?".

    Raises:
        UserError: the tag is malformed.
    """
    if tag in (OUTSIDE, UNKNOWN):
        return tag, ""
    letter, _, type_ = tag.partition("-")
    if letter not in _LETTERS or not is_visible(type_):
        raise UserError(
            f"malformed tag {tag!r}; a tag is O, or one of B-, I-, E- and S- "
            "before an entity type, as in B-PER"
        )
    if _SECOND.search(type_):
        raise UserError(f"{tag!r} contains two tags; write one of them")
    return _ALIASES.get(letter, letter), type_


def is_tag(text: str) -> bool:
    """Whether a text is O or names an entity."""
    try:
        return split_tag(text)[0] != UNKNOWN
    except UserError:
        return False


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of any tag sequence, legal or not, as conlleval and seqeval read them.

    An entity begins at B- and S-, after O, E- and S-, and wherever the type changes; it ends before
    O and before the next entity. This one rule reads IOB1, BIO2 and BIOES. The letters L, U and M,
    which seqeval does not know, are read as E, S and I. An unknown tag counts as O: annotators mark whole
    entities, so one ends there, and an I- after it begins one.

    Raises:
        UserError: a tag is malformed.

    Example:
        >>> spans(["B-PER", "I-PER", "O", "B-LOC"])
        [Span(type='PER', start=0, end=2), Span(type='LOC', start=3, end=4)]
    """
    entities: list[Span] = []
    start, end, before, type_before = 0, -1, OUTSIDE, ""  # of the entity that is being read; -1: of none
    for index in [index for index, tag in enumerate(tags) if tag not in _NONE]:  # most tags are O
        letter, type_ = split_tag(tags[index])
        if index != end or letter in "BS" or before in "ES" or type_ != type_before:
            if end >= 0:
                entities.append(Span(type_before, start, end))
            start = index
        end, before, type_before = index + 1, letter, type_
    if end >= 0:
        entities.append(Span(type_before, start, end))
    return entities


def to_bio2(entities: Iterable[Span], length: int) -> list[str]:
    """The BIO2 tags of a sentence of `length` words with these entities.

    Raises:
        ValueError: an entity is empty, leaves the sentence or overlaps another one.
    """
    tags = [OUTSIDE] * length
    for type_, start, end in entities:
        if not 0 <= start < end <= length or any(tag != OUTSIDE for tag in tags[start:end]):
            raise ValueError(f"{type_} at {start}:{end} does not fit into the {length} words")
        tags[start:end] = [f"B-{type_}"] + [f"I-{type_}"] * (end - start - 1)
    return tags


def detect(sequences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme of a whole data set; a single sentence rarely distinguishes IOB1 from BIO2.

    Returns:
        BIOES if any tag begins with S- or E- (or L-, U-, M-), BIO2 if every entity begins with B-,
        else IOB1.

    Raises:
        UserError: a tag is malformed.
    """
    pairs: set[tuple[str, str]] = set()
    for tags in sequences:
        pairs.update(zip((OUTSIDE, *tags), tags, strict=False))
    read = [(split_tag(before)[1], split_tag(tag), tag) for before, tag in pairs]
    if any(letter in "ES" or tag[0] in _ALIASES for _, (letter, _), tag in read):
        return Scheme.BIOES
    is_iob1 = any(letter == "I" and type_ != type_before for type_before, (letter, type_), _ in read)
    return Scheme.IOB1 if is_iob1 else Scheme.BIO2


def convert(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The BIO2 tags of the same entities; the sequence may be illegal. Unknown tags stay.

    Args:
        tags: tags of one sentence.
        scheme: the scheme of the data set, from `detect`.

    Raises:
        UserError: a tag is malformed, or its letter is not one of the scheme.
    """
    if scheme is not Scheme.BIOES:
        for tag in tags:
            if split_tag(tag)[0] in "ES" or tag[0] in _ALIASES:
                raise UserError(f"tag {tag!r} is not {scheme}; use one tag scheme throughout the data set")
    made = to_bio2(spans(tags), len(tags))
    return [UNKNOWN if tag == UNKNOWN else new for tag, new in zip(tags, made, strict=True)]


@dataclass(frozen=True)
class LabelSet:
    """The entity types of a data set, and the ids of their BIO2 tags.

    The metrics rely on the order: O is 0, and type k (from 0) has B- at 1 + 2k and I- at 2 + 2k, whether
    or not the training data contain both. The length is the number of tags.

    Attributes:
        types: entity types in the data set's own order; at least one, none empty, all different.
    """

    types: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.types, str):  # its letters would be taken for types
            raise TypeError(f"types is the text {self.types!r}; give a sequence of entity types")
        if not self.types:
            raise UserError("no entity types: all tags of the training data are O")
        if not all(self.types) or len(set(self.types)) < len(self.types):
            raise UserError(f"entity types must be different and not empty (types: {', '.join(self.types)})")

    def __len__(self) -> int:
        return 1 + 2 * len(self.types)

    @classmethod
    def from_tags(cls, sequences: Iterable[Sequence[str]]) -> Self:
        """Collects the entity types of tag sequences, in order of first appearance.

        Raises:
            UserError: a tag is malformed, or no tag names a type.
        """
        types = (split_tag(tag)[1] for tags in sequences for tag in tags if tag not in (OUTSIDE, UNKNOWN))
        return cls(tuple(dict.fromkeys(types)))

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """All tags by id: O, B-t0, I-t0, B-t1, and so on."""
        return (OUTSIDE, *(f"{letter}-{type_}" for type_ in self.types for letter in "BI"))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {tag: index for index, tag in enumerate(self.tags)} | {UNKNOWN: UNKNOWN_ID}

    @cached_property
    def _by_id(self) -> dict[int, str]:
        return {index: tag for tag, index in self._index.items()}

    def encode(self, tags: Sequence[str]) -> list[int]:
        """The ids of BIO2 tags; -1 of an unknown one.

        Raises:
            UserError: a tag is malformed, or its type is not in the label set.
            ValueError: a tag is not BIO2.
        """
        try:
            return [self._index[tag] for tag in tags]
        except KeyError as error:
            type_ = split_tag(error.args[0])[1]
            if type_ in self.types:
                raise ValueError(f"tag {error.args[0]!r} is not BIO2; convert it first") from None
            raise UserError(
                f"entity type {type_!r} is not one of the entity types {', '.join(self.types)}"
            ) from None

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The BIO2 tags of ids; "?" of -1.

        Raises:
            ValueError: there is no tag of an id, as of -2, a word that was given without tags.
        """
        try:
            return [self._by_id[index] for index in map(operator.index, ids)]
        except KeyError as error:
            raise ValueError(f"expected ids from -1 to {len(self) - 1}, got {error.args[0]}") from None

    def legal_transitions(self) -> list[list[bool]]:
        """At [i][j], whether tag j may follow tag i: I- follows its own type only; *shape (C, C)*."""
        # The B- of an I- is the tag before it.
        starts = self.legal_starts()
        return [[start or i in (j - 1, j) for j, start in enumerate(starts)] for i in range(len(self))]

    def legal_starts(self) -> list[bool]:
        """Whether each tag may begin a sentence: all but I-; *shape (C,)*."""
        return [index == 0 or index % 2 == 1 for index in range(len(self))]

    def legal_ends(self) -> list[bool]:
        """Whether each tag may end a sentence: all of BIO2; *shape (C,)*."""
        return [True] * len(self)
