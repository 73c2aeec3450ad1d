"""What a tagger finds in a text: entities, and on request tag marginals and the n best sequences."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_lightning.inference.text import Document, Offsets


class Entity(NamedTuple):
    """An entity in a text.

    Attributes:
        text: what it is called there; always the text from `start` to `end`.
        label: its type.
        start: its first character.
        end: one past its last character.
        word_start: its first word.
        word_end: one past its last word.
        score: how probable it is that exactly this entity stands there: the CRF's marginal over legal
            paths, or the product of its words' tag probabilities for a softmax tagger.
    """

    text: str
    label: str
    start: int
    end: int
    word_start: int
    word_end: int
    score: float


class Path(NamedTuple):
    """A tag sequence of a whole text, and its log-probability among all of that text."""

    tags: tuple[str, ...]
    log_prob: float


@dataclass(frozen=True, slots=True)
class Tagged:
    """A text with what was found in it.

    Attributes:
        document: the text and its words.
        tags: one BIO2 tag for each word.
        entities: what these tags spell, in order of appearance.
        marginals: the probability of each tag at each word, columns as in `NERTagger.labels.tags`; None
            unless asked for. *Shape:* (W, C)
        paths: the n best tag sequences, best first; None unless asked for.
    """

    document: Document
    tags: tuple[str, ...]
    entities: tuple[Entity, ...]
    marginals: NDArray[np.float32] | None = None
    paths: tuple[Path, ...] | None = None

    @property
    def text(self) -> str:
        """The text as it was given; words that were given come joined by spaces."""
        return self.document.text

    @property
    def words(self) -> tuple[str, ...]:
        """Its words."""
        return tuple(self.text[start:end] for start, end in self.offsets)

    @property
    def offsets(self) -> list[Offsets]:
        """Where each word begins and ends in the text."""
        return self.document.offsets
