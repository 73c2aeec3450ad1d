"""Label set; IOB1, BIO2, BIOES to and from spans; which BIO2 transitions are legal."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import NamedTuple, Self

from ner_lightning.errors import UserError

OUTSIDE = "O"
# BILOU writes Last and Unit, BMES writes Middle, where BIOES has End, Single and Inside.
_ALIASES = {"L": "E", "U": "S", "M": "I"}
_LETTERS = frozenset("BIES") | _ALIASES.keys()
_SECOND = re.compile(r"[,;|/](?:O$|[BIESLUM]-)")  # a second tag behind the first, as in B-PER,B-LOC


class Span(NamedTuple):
    """An entity.

    Attributes:
        type: entity type, such as "PER".
        start: index of its first word.
        end: index after its last word.
    """

    type: str
    start: int
    end: int


class Scheme(StrEnum):
    """How tags mark where an entity begins and ends.

    IOB1 has I- throughout, and B- only where an entity directly follows another one of its type.
    BIO2 begins every entity with B-. BIOES ends longer entities with E- and writes entities of one
    word as S-.
    """

    IOB1 = "IOB1"
    BIO2 = "BIO2"
    BIOES = "BIOES"


@lru_cache(maxsize=4096)
def split_tag(tag: str) -> tuple[str, str]:
    """Splits a tag at its first hyphen: types may hold hyphens themselves ("B-creative-work").

    Returns:
        One of B, I, E and S (L, U and M are read as E, S and I) and the type; ("O", "") for "O".

    Raises:
        UserError: the tag is malformed.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    letter, _, kind = tag.partition("-")
    if letter not in _LETTERS or not kind or kind != kind.strip():
        raise UserError(
            f"malformed tag {tag!r}; a tag is O, or one of B-, I-, E- and S- "
            "before an entity type, as in B-PER"
        )
    if _SECOND.search(kind):
        raise UserError(f"{tag!r} holds two tags; write one of them")
    return _ALIASES.get(letter, letter), kind


def is_tag(text: str) -> bool:
    """Whether `split_tag` accepts a text."""
    try:
        return bool(split_tag(text))
    except UserError:
        return False


def spans(tags: Sequence[str]) -> list[Span]:
    """Reads the entities of any tag sequence, legal or not, as conlleval and seqeval do.

    An entity begins at B- and S-, after O, E- and S-, and wherever the type changes; it ends before
    O and before the next entity. IOB1, BIO2 and BIOES all come out right under this one rule. The
    letters L, U and M, which seqeval does not know, are read as E, S and I.

    Raises:
        UserError: a tag is malformed.

    Example:
        >>> spans(["B-PER", "I-PER", "O", "B-LOC"])
        [Span(type='PER', start=0, end=2), Span(type='LOC', start=3, end=4)]
    """
    found = []
    start, before, kind_before = 0, OUTSIDE, ""
    for index, tag in enumerate(tags):
        letter, kind = split_tag(tag)
        outside = letter == OUTSIDE
        begins = not outside and (letter in "BS" or before in "OES" or kind != kind_before)
        if before != OUTSIDE and (outside or begins):
            found.append(Span(kind_before, start, index))
        if begins:
            start = index
        before, kind_before = letter, kind
    if before != OUTSIDE:
        found.append(Span(kind_before, start, len(tags)))
    return found


def to_bio2(entities: Iterable[Span], length: int) -> list[str]:
    """Writes entities as the BIO2 tags of a sentence of `length` words.

    Raises:
        ValueError: an entity is empty, leaves the sentence or overlaps another one.
    """
    tags = [OUTSIDE] * length
    for kind, start, end in entities:
        if not 0 <= start < end <= length or any(tag != OUTSIDE for tag in tags[start:end]):
            raise ValueError(f"{kind} at {start}:{end} does not fit into the {length} words")
        tags[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return tags


def detect(sequences: Iterable[Sequence[str]]) -> Scheme:
    """Recognises the scheme of a whole data set; one sentence alone rarely tells IOB1 from BIO2.

    Returns:
        BIOES if any tag begins with S- or E- (or L-, U-, M-), BIO2 if every entity begins with B-,
        else IOB1.

    Raises:
        UserError: a tag is malformed.
    """
    scheme = Scheme.BIO2
    for tags in sequences:
        kind_before = ""
        for tag in tags:
            letter, kind = split_tag(tag)
            if letter in "ES" or tag[0] in _ALIASES:
                return Scheme.BIOES
            if letter == "I" and kind != kind_before:
                scheme = Scheme.IOB1
            kind_before = kind
    return scheme


def convert(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Rewrites a sequence, legal or not, as the BIO2 tags of the same entities.

    Args:
        tags: tags of one sentence.
        scheme: the scheme of the data set, as `detect` gives it.

    Raises:
        UserError: a tag is malformed, or has a letter that the scheme does not use.
    """
    if scheme is not Scheme.BIOES:
        for tag in tags:
            if split_tag(tag)[0] in "ES" or tag[0] in _ALIASES:
                raise UserError(f"tag {tag!r} is not {scheme}; use one tag scheme throughout the data set")
    return to_bio2(spans(tags), len(tags))


@dataclass(frozen=True)
class LabelSet:
    """The entity types of a data set, and the numbering of their BIO2 tags.

    The layout is fixed, and the metrics rely on it: O is 0, and type k (from 0) has B- at 1 + 2k
    and I- at 2 + 2k, whether or not the training data use both. The length is the number of tags.

    Attributes:
        types: entity types in the data set's own order; at least one, none empty, all different.
    """

    types: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.types, str):  # whose letters would pass for types
            raise TypeError(f"types is the text {self.types!r}; give a sequence of entity types")
        if not self.types:
            raise UserError("no entity type: the training data hold no tag but O")
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
        kinds = (split_tag(tag)[1] for tags in sequences for tag in tags if tag != OUTSIDE)
        return cls(tuple(dict.fromkeys(kinds)))

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """All tags by index: O, B-t0, I-t0, B-t1, and so on."""
        return (OUTSIDE, *(f"{letter}-{kind}" for kind in self.types for letter in "BI"))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {tag: index for index, tag in enumerate(self.tags)}

    def encode(self, tags: Sequence[str]) -> list[int]:
        """Turns BIO2 tags into indices.

        Raises:
            UserError: a tag is malformed, or its type is not in the label set.
            ValueError: a tag is not BIO2.
        """
        try:
            return [self._index[tag] for tag in tags]
        except KeyError as error:
            kind = split_tag(error.args[0])[1]
            if kind in self.types:
                raise ValueError(f"tag {error.args[0]!r} is not BIO2; convert it first") from None
            raise UserError(
                f"entity type {kind!r} is not one of the entity types {', '.join(self.types)}"
            ) from None

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Turns indices into BIO2 tags."""
        return [self.tags[index] for index in ids]

    def legal_transitions(self) -> list[list[bool]]:
        """Says which tag may follow which in BIO2: all but an I- after anything but its own type.

        Returns:
            *shape (C, C)*: at [i][j], whether tag j may follow tag i.
        """
        return [[self._follows(i, j) for j in range(len(self))] for i in range(len(self))]

    def legal_starts(self) -> list[bool]:
        """Says which tags may begin a sentence: all but I-; *shape (C,)*."""
        return [not _is_inside(index) for index in range(len(self))]

    def legal_ends(self) -> list[bool]:
        """Says which tags may end a sentence: every one in BIO2; *shape (C,)*."""
        return [True] * len(self)

    @staticmethod
    def _follows(before: int, after: int) -> bool:
        # In the layout above, I- has its own B- just before it.
        return not _is_inside(after) or before in (after - 1, after)


def _is_inside(index: int) -> bool:
    """Whether the tag at an index is an I- tag: the even ones but O."""
    return index > 0 and index % 2 == 0
