"""A spaCy component: `nlp.add_pipe("ner_lightning", config={"model": DIR})` sets `doc.ents`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import filter_spans, load_config, minibatch

from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.result import Tagged

SCORE = "ner_score"  # an entity's probability, as `span._.ner_score`


def create(
    nlp: Language,
    name: str,
    model: str,
    device: str | None = None,
    min_score: float | dict[str, float] | None = None,
) -> "Pipe":
    """Makes the component.

    Args:
        nlp: the pipeline.
        name: the component's name in it.
        model: a run folder, a checkpoint or an exported folder.
        device: where to run; None: a CUDA GPU if there is one.
        min_score: every entity of at least this probability, as for `NERTagger`.
    """
    return Pipe(NERTagger.from_run(model, device=device, min_score=min_score))


Language.factory(
    "ner_lightning",
    assigns=["doc.ents", f"span._.{SCORE}"],
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
    func=create,
)


class Pipe:
    """Finds entities in the text of each document, and adds them to `doc.ents`.

    The text is split into words as the tagger's training data were, not as spaCy does: an entity that ends
    inside one of spaCy's tokens gets the whole token. Of entities that share a token the longest is kept.
    Entities that a document has already, as from an `entity_ruler`, stay, and none is set that shares a token
    with them or with tokens that are blocked.

    Args:
        tagger: the tagger.
    """

    def __init__(self, tagger: NERTagger) -> None:
        self.tagger = tagger
        if not Span.has_extension(SCORE):
            Span.set_extension(SCORE, default=None)

    @property
    def labels(self) -> tuple[str, ...]:
        """The entity types."""
        return self.tagger.labels.types

    def score(self, examples: Iterable[Example], **_: Any) -> dict[str, Any]:
        """Precision, recall and F1 of the entities, as spaCy's `ner` has them."""
        scores: dict[str, Any] = get_ner_prf(examples)
        return scores

    def to_disk(self, path: Path, **_: Any) -> None:
        """Makes the path of the tagger absolute in the saved pipeline, which may be loaded from elsewhere.

        Args:
            path: the component's own folder in that of the pipeline; nothing is written to it.
        """
        file = path.parent / "config.cfg"  # which spaCy writes before it saves the components
        if self.tagger.path is None or not file.is_file():
            return
        config = load_config(file)
        config["components"][path.name]["model"] = str(self.tagger.path)
        config.to_disk(file)

    def __call__(self, doc: Doc) -> Doc:
        """Sets a document's entities."""
        return _with_entities(doc, self.tagger(doc.text))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Sets the entities of a stream of documents, in batches."""
        for docs in minibatch(stream, size=batch_size):
            yield from map(_with_entities, docs, self.tagger([doc.text for doc in docs]))


def _with_entities(doc: Doc, tagged: Tagged) -> Doc:
    preset = doc.ents
    blocked = [token.i for token in doc if token.ent_iob_ == "B" and not token.ent_type_]
    taken = {*blocked, *(token.i for span in preset for token in span)}
    scores: dict[Span, float] = {}
    # The most probable first: of entities that come to have the same tokens, spaCy keeps the first.
    for entity in sorted(tagged.entities, key=lambda entity: -entity.score):
        span = doc.char_span(entity.start, entity.end, label=entity.label, alignment_mode="expand")
        if span is not None and taken.isdisjoint(range(span.start, span.end)):
            scores.setdefault(span, entity.score)
    added = filter_spans(scores)
    doc.set_ents([*preset, *added], blocked=[doc[i : i + 1] for i in blocked])
    for span in added:
        span._.set(SCORE, scores[span])
    return doc
