"""Entities that state their text: it shows what their offsets count, and which of two strings is the type."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from ner_lightning.data.readers.counting import EXCLUSIVE, Counting, contradiction, countings
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.errors import UserError

Changed = Callable[[str, str], None]


class StatedEntity(NamedTuple):
    """An entity as a file has it.

    Attributes:
        start: the offset of its start, in whatever units.
        end: that of its end.
        types: its type; of several strings, one is its type and another one its text.
        stated: its text, wherever it is stated.
    """

    start: int
    end: int
    types: tuple[str, ...]
    stated: tuple[str, ...] = ()

    @property
    def is_proof(self) -> bool:
        """Whether its text shows what offsets count."""
        return bool(self.stated) or len(self.types) > 1

    def at(self, text: str, counting: Counting) -> CharSpan | None:
        """The entity in characters; None if it lies outside the text, or states another one than there is."""
        offsets = counting.characters(self.start, self.end)
        if offsets is None:
            return None
        covered = text[slice(*offsets)]
        types = self.types
        if len(types) > 1:
            types = tuple(type_ for type_ in types if not counting.fits(type_, covered))
        if len(types) != 1 or not all(counting.fits(each, covered) for each in self.stated):
            return None
        return CharSpan(*offsets, types[0])

    def refusal(self, text: str, counting: Counting, rule: str = EXCLUSIVE) -> UserError:
        """Why the entity is not in the text; `rule` says what offsets count."""
        where = f"the entity {self.types[0]} from {self.start} to {self.end}"
        offsets = counting.characters(self.start, self.end)
        if offsets is None:
            return UserError(f"{where} does not lie in the text, which has {len(text):,} characters; {rule}")
        covered = text[slice(*offsets)]
        other = next((each for each in self.stated if not counting.fits(each, covered)), None)
        if other is not None:
            return UserError(contradiction(where, other, covered, rule))
        labels = " and ".join(map(repr, self.types))
        return UserError(
            f"the entity {covered!r:.40} from {self.start} to {self.end} is labelled {labels:.80}; "
            f"leave it its type alone, or its type and its text; {rule}"
        )


class MisfitError(UserError):
    """Why an entity is not in its text.

    Attributes:
        place: its index.
    """

    def __init__(self, place: int, reason: UserError) -> None:
        super().__init__(str(reason))
        self.place = place


def fitted(
    entities: Sequence[StatedEntity],
    text: str,
    changed: Changed,
    counting: Counting | None = None,
    *,
    rule: str = EXCLUSIVE,
) -> tuple[CharSpan, ...]:
    """Entities in characters of their text, whose offsets fit the texts that they state.

    Offsets that count otherwise are converted: Label Studio may count an emoji as two characters, and some
    corpora include the last character.

    Args:
        entities: all entities of the text.
        text: the text.
        changed: called with each kind of change, and the text where it was.
        counting: what offsets count unless entities prove something else; None: as usual.
        rule: what they should count, for messages.

    Raises:
        MisfitError: one states another text than there is.
    """
    known = [] if counting is None else [counting]
    for each in chain(known, countings(text)):
        # What one entity supports by chance is not applied to those that state no text.
        if each.is_inclusive and each not in known and not all(entity.is_proof for entity in entities):
            continue
        spans = _counted(entities, text, each)
        if spans is not None:
            if not each.is_usual and spans:
                changed(f"texts have entities whose offsets count {each.name}; they were converted", text)
            return spans
    usual = next(countings(text))
    place = next(n for n, each in enumerate(entities) if each.is_proof and not each.at(text, usual))
    raise MisfitError(place, entities[place].refusal(text, usual, rule))


def _counted(entities: Sequence[StatedEntity], text: str, counting: Counting) -> tuple[CharSpan, ...] | None:
    """The entities by what offsets count; None if one of them shows that they count something else."""
    spans = []
    for entity in entities:
        span = entity.at(text, counting)
        if span is None and counting.is_usual and not entity.is_proof:
            span = CharSpan(entity.start, entity.end, entity.types[0])  # outside, which is refused elsewhere
        if span is None:
            return None
        spans.append(span)
    return tuple(spans)
