"""What a tagger finds in a text: entities, and on request tag marginals and the n best sequences."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_lightning.inference.text import Document, Offsets

if TYPE_CHECKING:
    from ner_lightning.model.decoder import EntitySpan as WordEntity

Path = tuple[Sequence[str], float]  # a tag sequence and its log-probability


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


@dataclass(frozen=True, slots=True)
class Tagged:
    """A text with what was found in it.

    Attributes:
        document: the text and its words.
        tags: one BIO2 tag for each word.
        entities: what these tags spell, in order of appearance.
        marginals: the probability of each tag at each word, columns as in `NERTagger.labels.tags`; None
            unless asked for. *Shape:* (W, C)
        paths: the n best tag sequences with their log-probabilities, best first, as many as there are;
            None unless asked for.
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


class Piece(NamedTuple):
    """What was found in one sentence of a document; attributes as at `Tagged`, offsets in words."""

    tags: Sequence[str]
    entities: "Sequence[WordEntity]"
    marginals: NDArray[np.float32] | None
    paths: Sequence[Path]


def joined(document: Document, pieces: Sequence[Piece], *, n_best: int = 0, columns: int = 0) -> Tagged:
    """What was found in a document, from what was found in each of its sentences.

    Args:
        document: the document.
        pieces: one for each of its sentences.
        n_best: how many tag sequences to give at most; with 0 there are none.
        columns: of the marginals; with 0 there are none.
    """
    entities = []
    before = 0
    for piece, offsets in zip(pieces, document.sentences, strict=True):
        for label, first, last, score in piece.entities:
            start, end = offsets[first][0], offsets[last - 1][1]
            words = (before + first, before + last)
            entities.append(Entity(document.text[start:end], label, start, end, *words, score))
        before += len(offsets)
    marginals = [np.zeros((0, columns), dtype=np.float32)]
    marginals += [piece.marginals for piece in pieces if piece.marginals is not None]
    return Tagged(
        document,
        tuple(chain.from_iterable(piece.tags for piece in pieces)),
        tuple(entities),
        np.concatenate(marginals) if columns else None,
        tuple(_best([piece.paths for piece in pieces], n_best)) if n_best else None,
    )


def _best(pieces: Sequence[Sequence[Path]], n: int) -> list[Path]:
    """The n best sequences of a document: its sentences are independent, so probabilities multiply."""
    steps: list[list[tuple[float, int, int]]] = [[(0.0, 0, 0)]]  # log-probability, before, path
    for paths in pieces:
        options = (
            (total + log_prob, before, number)
            for before, (total, _, _) in enumerate(steps[-1])
            for number, (_, log_prob) in enumerate(paths)
        )
        steps.append(heapq.nlargest(n, options, key=lambda option: option[0]))
    best: list[Path] = []
    for place, (total, _, _) in enumerate(steps[-1]):
        tags: list[Sequence[str]] = []
        for step, paths in zip(reversed(steps[1:]), reversed(pieces), strict=True):
            _, before, number = step[place]
            tags.append(paths[number][0])
            place = before
        best.append((tuple(chain.from_iterable(reversed(tags))), total))
    return best
