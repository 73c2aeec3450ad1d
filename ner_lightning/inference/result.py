"""What a tagger predicts for a text: entities, tags, and on request marginals and n-best sequences."""

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_lightning.data.running_text import Document, Offsets
from ner_lightning.inference.display import marked_html, short

if TYPE_CHECKING:
    import pandas

    from ner_lightning.model.entity_spans import EntitySpan

TagPath = tuple[Sequence[str], float]  # a tag sequence and its log-probability
OVERLAPS = "overlaps"  # the field of an entity that says so, where overlapping ones are kept
SHOWN_ENTITIES = 10  # in a result's `repr`


class Entity(NamedTuple):
    """An entity in a text.

    Attributes:
        text: the text from `start` to `end`.
        label: the entity type.
        start: index of its first character.
        end: index after its last character.
        word_start: index of its first word.
        word_end: index after its last word.
        score: its probability, from 0 to 1. With a CRF: the marginal probability over legal tag sequences
            of exactly this entity. With a softmax: the product of its words' tag probabilities.
    """

    text: str
    label: str
    start: int
    end: int
    word_start: int
    word_end: int
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Its fields by name; the score has six decimals."""
        return self._asdict() | {"score": round(self.score, 6)}


@dataclass(frozen=True, slots=True, repr=False)
class Tagged:
    """A text and its predicted entities.

    In a notebook it shows as the text with its entities marked.

    Attributes:
        document: the text and its words.
        tags: one BIO2 tag per word; of a tagger whose decoding is not constrained, as it decoded them.
        entities: the entities that these tags encode, in order of appearance.
        marginals: the probability of each tag at each word, None unless requested. *Shape:* (W, C)
        paths: the most probable tag sequences, best first, with their log-probabilities; None unless
            requested.
        overlapping: further entities of at least `min_score`, each of which shares words with a more probable
            one; None unless requested by `overlaps="keep"`.
    """

    document: Document
    tags: tuple[str, ...]
    entities: tuple[Entity, ...]
    marginals: NDArray[np.float32] | None = field(default=None, compare=False)  # see `__eq__`
    paths: tuple[TagPath, ...] | None = None
    overlapping: tuple[Entity, ...] | None = None

    @property
    def text(self) -> str:
        """The text; if words were given, those joined by single spaces."""
        return self.document.text

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the text."""
        return tuple(self.text[start:end] for start, end in self.offsets)

    @property
    def offsets(self) -> list[Offsets]:
        """Start and end of each word, in characters of the text."""
        return self.document.offsets

    def __eq__(self, other: object) -> bool:
        """Whether text, words and everything that is predicted for them are the same."""
        if not isinstance(other, Tagged):
            return NotImplemented
        compared = [each.name for each in fields(self) if each.compare]
        return all(getattr(self, name) == getattr(other, name) for name in compared) and np.array_equal(
            self.marginals,  # type: ignore[arg-type]  # None equals None alone
            other.marginals,  # type: ignore[arg-type]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: text, words, tags, entities; marginals and paths if requested."""
        values: dict[str, Any] = {
            "text": self.text,
            "words": list(self.words),
            "tags": list(self.tags),
            "entities": self.entity_dicts(),
        }
        if self.marginals is not None:
            values["marginals"] = self.marginals.tolist()
        if self.paths is not None:
            values["paths"] = [{"tags": list(tags), "log_prob": log_prob} for tags, log_prob in self.paths]
        return values

    def entity_dicts(self) -> list[dict[str, Any]]:
        """The fields of each entity, by name, in order of appearance.

        With `overlaps="keep"` also those of `overlapping`, and each has the field `overlaps`: whether it
        shares words with a more probable one.
        """
        if self.overlapping is None:
            return [entity.to_dict() for entity in self.entities]
        marked = [(entity, False) for entity in self.entities] + [(each, True) for each in self.overlapping]
        marked.sort(key=lambda pair: (pair[0].start, pair[0].end))
        return [entity.to_dict() | {OVERLAPS: overlaps} for entity, overlaps in marked]

    def to_json(self) -> str:
        """`to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_df(self) -> "pandas.DataFrame":
        """A data frame with one row per entity and the fields of `Entity` as columns.

        With `overlaps="keep"` also the column `overlaps`, see `entity_dicts`.
        """
        import pandas

        columns = Entity._fields if self.overlapping is None else (*Entity._fields, OVERLAPS)
        rows = pandas.DataFrame(self.entity_dicts(), columns=columns)
        numbers = dict.fromkeys(("start", "end", "word_start", "word_end"), "int64") | {"score": "float64"}
        return rows.astype(numbers)  # also where there is no row to tell

    def __repr__(self) -> str:
        shown = [f"{short(e.text, 40)} {e.label} {e.score:.2f}" for e in self.entities[:SHOWN_ENTITIES]]
        more = len(self.entities) - len(shown)
        listed = ", ".join([*shown, *([f"... {more} more"] if more else [])])
        return f"Tagged({short(self.text, 60)}, entities=[{listed}])"

    def _repr_html_(self) -> str:
        return marked_html(self.text, [(e.start, e.end, e.label, e.score) for e in self.entities])


class SentenceResult(NamedTuple):
    """The predictions for one sentence of a document: as in `Tagged`, but entities name words only."""

    tags: Sequence[str]
    entities: "Sequence[EntitySpan]"
    marginals: NDArray[np.float32] | None
    paths: Sequence[TagPath]
    overlapping: "Sequence[EntitySpan] | None" = None


def join(
    document: Document,
    sentences: Sequence[SentenceResult],
    *,
    n_best: int = 0,
    num_tags: int = 0,
    keep: bool = False,
) -> Tagged:
    """Joins the results of a document's sentences.

    Args:
        document: the document.
        sentences: one result per sentence of it.
        n_best: the number of tag sequences to return at most; 0 returns none.
        num_tags: the number of columns of the marginals; 0 returns none.
        keep: whether entities that overlap more probable ones are returned as well.
    """
    marginals = [np.zeros((0, num_tags), dtype=np.float32)]
    marginals += [sentence.marginals for sentence in sentences if sentence.marginals is not None]
    return Tagged(
        document,
        tuple(chain.from_iterable(sentence.tags for sentence in sentences)),
        tuple(_in_text(document, [sentence.entities for sentence in sentences])),
        np.concatenate(marginals) if num_tags else None,
        tuple(_best_paths([sentence.paths for sentence in sentences], n_best)) if n_best else None,
        tuple(_in_text(document, [s.overlapping or () for s in sentences])) if keep else None,
    )


def _in_text(document: Document, sentences: "Sequence[Sequence[EntitySpan]]") -> Iterator[Entity]:
    """The entities of a document's sentences, by their place in the text."""
    words_before = 0
    for spans, offsets in zip(sentences, document.sentences, strict=True):
        for label, first, last, score in spans:
            start, end = offsets[first][0], offsets[last - 1][1]
            words = (words_before + first, words_before + last)
            yield Entity(document.text[start:end], label, start, end, *words, score)
        words_before += len(offsets)


def _best_paths(sentences: Sequence[Sequence[TagPath]], n: int) -> list[TagPath]:
    """The n best sequences of a document: its sentences are independent, so probabilities multiply."""
    # After each sentence, the n best combinations: log-probability, index of the combination that it
    # extends, index of the sentence's path that it adds.
    steps: list[list[tuple[float, int, int]]] = [[(0.0, 0, 0)]]
    for paths in sentences:
        options = (
            (total + log_prob, previous, index)
            for previous, (total, _, _) in enumerate(steps[-1])
            for index, (_, log_prob) in enumerate(paths)
        )
        steps.append(heapq.nlargest(n, options, key=lambda option: option[0]))
    best: list[TagPath] = []
    for combination, (total, _, _) in enumerate(steps[-1]):
        tags: list[Sequence[str]] = []
        for step, paths in zip(reversed(steps[1:]), reversed(sentences), strict=True):
            _, previous, index = step[combination]
            tags.append(paths[index][0])
            combination = previous
        best.append((tuple(chain.from_iterable(reversed(tags))), total))
    return best
