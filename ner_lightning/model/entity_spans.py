"""EntitySpan and CandidateSpan: entities of a sentence, predicted or possible, with their probabilities."""

from typing import NamedTuple


class EntitySpan(NamedTuple):
    """An entity in a sentence.

    Attributes:
        type: the entity type.
        start: its first word.
        end: one past its last word.
        probability: see `Decoder.span_probabilities`.
    """

    type: str
    start: int
    end: int
    probability: float


class CandidateSpan(NamedTuple):
    """An entity that a sentence may have, whether or not the best tag sequence does.

    Attributes:
        type: the entity type.
        start: its first word.
        end: one past its last word.
        probability: see `Decoder.span_probabilities`.
        priority: orders candidates that share words. With a CRF it is the probability. With a softmax it is
            the product of tag probabilities that also has that of the next word not continuing the entity:
            without it, the first words of an entity would always seem more probable than all of them.
    """

    type: str
    start: int
    end: int
    probability: float
    priority: float
