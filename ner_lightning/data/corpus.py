"""Corpus: the splits of a data set, their labels, and their sentences as sub-tokens."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from ner_lightning.data.corpus_settings import Encoding, Limits, Supervision, Unannotated
from ner_lightning.data.partial_annotation import check_known, only_entities_known, partly_annotated
from ner_lightning.data.positions import window_length
from ner_lightning.data.schemes import UNTAGGED_ID, LabelSet, spans
from ner_lightning.data.sentence import Sentence, unknown_entities, unknown_types
from ner_lightning.data.sentence_weights import read_weights
from ner_lightning.data.sources import SentenceSource, Split
from ner_lightning.data.teacher import TeacherStore, about_teacher, read_teacher
from ner_lightning.data.tokenization.encoding import Encoded, Encoder, load_tokenizer
from ner_lightning.data.tokenization.tokenizer_source import TokenizerSource
from ner_lightning.errors import UserError
from ner_lightning.runs.fingerprints import is_part, limited, with_note
from ner_lightning.system import progress, terminal


class Corpus:
    """The splits of a data set, each read and encoded once, on first use.

    Args:
        source: reads train, valid and test.
        tokenizer: splits words into sub-tokens.
        encoding: how words become rows of sub-tokens.
        limits: how many sentences of a split are used.
        types: the entity types; None takes them from the whole training data.
        unannotated: what words outside of marked entities are in training; see `Files`.
        supervision: what is learned from beside gold tags, and how much sentences count.
    """

    def __init__(
        self,
        source: SentenceSource,
        tokenizer: TokenizerSource,
        encoding: Encoding,
        limits: Limits,
        types: Sequence[str] | None,
        unannotated: Unannotated,
        supervision: Supervision,
    ) -> None:
        self.source = source
        self.tokenizer = tokenizer
        self.encoding = encoding
        self.limits = {"train": limits.train, "valid": limits.valid}
        self._types = types
        self.unannotated = unannotated
        self.supervision = supervision
        self._splits: dict[str, Split] = {}
        self._whole: dict[str, Split] = {}
        self._unknown: dict[str, dict[str, int]] = {}
        self._encoded: dict[str, list[Encoded]] = {}

    @cached_property
    def labels(self) -> LabelSet:
        """The label set of the whole training data, whatever their limit; built only here."""
        if self._types is not None:
            return LabelSet(tuple(self._types))
        train, whole = self.split("train"), self._read("train")
        found = LabelSet.from_tags(tags for _, tags in tagged(whole.sentences))
        labels = LabelSet(train.types) if train.types else found
        used = {span.type for _, tags in tagged(train.sentences) for span in spans(tags)}
        if missing := [name for name in labels.types if name not in used and name in found.types]:
            progress.stage(
                f"The first {len(train.sentences):,} of {len(whole.sentences):,} training sentences "
                f"(data.limits.train) have no {terminal.shortlist(missing)}; entity types are those of all."
            )
        return labels

    def unknown(self, name: str) -> dict[str, int]:
        """Number of gold entities of a split, by type, whose type is not in the label set.

        Always empty for the training split, where such a type is an error.
        """
        if name not in self._unknown:
            sentences = () if name == "train" else self.split(name).sentences
            self._unknown[name] = unknown_entities(sentences, self.labels.types)
        return self._unknown[name]

    def scored_labels(self, name: str) -> LabelSet:
        """The label set, followed by the unknown types of a split, whose entities are scored as missed."""
        return LabelSet((*self.labels.types, *self.unknown(name)))

    def warn_of_unknown(self, name: str) -> None:
        """Warns of the types that `scored_labels` adds, if any."""
        if self.unknown(name):
            progress.warn(unknown_types(self.split(name).origin, self.unknown(name), list(self.labels.types)))

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder with the backbone's tokenizer, and windows within the backbone's positions."""
        pretrained, trust = self.tokenizer.pretrained, self.tokenizer.trust_remote_code
        tokenizer = load_tokenizer(pretrained, trust_remote_code=trust)
        return Encoder(tokenizer, replace(self.encoding, max_length=self.max_length))

    @cached_property
    def max_length(self) -> int:
        """The most sub-tokens in a window, which the backbone's positions limit."""
        return window_length(
            self.encoding.max_length,
            self.tokenizer.pretrained,
            trust_remote_code=self.tokenizer.trust_remote_code,
        )

    @cached_property
    def teacher(self) -> TeacherStore | None:
        """What a teacher says of the training sentences, if one is named."""
        folder, sentences = self.supervision.teacher, self.split("train").sentences
        return None if folder is None else read_teacher(folder, sentences, self.labels.types)

    def weights(self, name: str) -> Sequence[float] | None:
        """How much each encoded sentence of a split counts; None if all count the same."""
        split, more = self.split(name), self._untagged(name)
        if not more or (split.weights is None and self.supervision.text_weight == 1):
            return split.weights
        own = split.weights or [1.0] * len(split.sentences)
        return [*own, *[self.supervision.text_weight] * len(more)]

    def _untagged(self, name: str) -> Sequence[Sentence]:
        """The sentences of which only the teacher knows the tags."""
        return self.teacher.text if name == "train" and self.teacher is not None else ()

    def split(self, name: str) -> Split:
        """The sentences of train, valid or test, read once and cut to their limit."""
        if name not in self._splits:
            split = self._read(name)
            if (limit := self.limits.get(name)) is not None:
                split = replace(
                    split,
                    sentences=split.sentences[:limit],
                    fingerprint=limited(split.fingerprint, limit),
                    weights=split.weights and split.weights[:limit],
                )
                if split.weights and not any(split.weights):
                    raise UserError(f"data.supervision.sentence_weights: the first {limit:,} are all 0")
            if not split.sentences:
                raise UserError(f"{split.origin} has no sentences")
            if name != "train":
                check_known(name, split.origin, split.sentences)
                if self.unannotated == "unknown" and is_part(split.fingerprint):
                    raise partly_annotated(name, split.origin)
            elif (teacher := self.supervision.teacher) is not None:
                key, weight = about_teacher(teacher)["key"], self.supervision.text_weight
                noted = with_note(split.fingerprint, "teacher", key, f"{weight:g}")
                split = replace(split, fingerprint=noted)
            self._splits[name] = split
        return self._splits[name]

    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of what is learned from and validated on, as far as it was read."""
        return {name: self._splits[name].fingerprint for name in ("train", "valid") if name in self._splits}

    def _read(self, name: str) -> Split:
        """A split without its limit, read once."""
        if name not in self._whole:
            split = self.source.read(name)
            if not isinstance(split, Split):  # of a class of the user's own
                raise UserError(f"{type(self.source).__name__}.read returned {split!r:.60}, not a Split")
            if name == "train" and self.unannotated == "unknown":
                split = replace(split, sentences=only_entities_known(split.sentences))
            if name == "train" and (file := self.supervision.sentence_weights) is not None:
                weights, digest = read_weights(file, split.sentences, split.origin)
                text = with_note(split.fingerprint, "weights", digest)
                split = replace(split, weights=weights, fingerprint=text)
            self._whole[name] = split
        return self._whole[name]

    def encoded(self, name: str) -> list[Encoded]:
        """The encoded passages of a split, in data order; without `context` each is a sentence.

        Raises:
            UserError: a type in the training data is not among those of `data.types`.
        """
        if name not in self._encoded:
            sentences = self.split(name).sentences
            tags = [np.array(self._tag_ids(name, number)) for number in range(len(sentences))]
            coded = self.encoder.encode([s.words for s in sentences], self._documents(name))
            encoded = progress.paced(coded, f"{name} sentences tokenised", len(sentences))
            self._encoded[name] = [
                replace(e, tags=np.concatenate([tags[i] for i in e.index])) for e in encoded
            ]
            for e in self._encoded[name]:
                words = [len(sentences[i].words) for i in e.index]
                assert len(e.first) == sum(words), "a word was lost in encoding"
            if text := self._untagged(name):
                more = self._encoded_text([s.words for s in text], [s.document for s in text])
                self._encoded[name] += [replace(e, tags=np.full(len(e.first), UNTAGGED_ID)) for e in more]
        return self._encoded[name]

    def _documents(self, name: str) -> list[int]:
        """The document of each sentence of a split."""
        split = self.split(name)
        documents = [sentence.document for sentence in split.sentences]
        if self.encoding.context and len(set(documents)) == 1:
            progress.stage(f"{split.origin} marks no documents: all its sentences count as one document.")
        return documents

    def add_text(self, sentences: Sequence[Sequence[str]], documents: Sequence[int]) -> None:
        """Adds untagged sentences to the training data, for masked-word pretraining.

        Args:
            sentences: the words of each, at least one.
            documents: the document of each.
        """
        known = self.encoded("train")
        self._splits["train"] = replace(self.split("train"), weights=None)  # of tags, which are not learned
        self._encoded["train"] = [*known, *self._encoded_text(sentences, documents)]

    def _encoded_text(
        self, sentences: Sequence[Sequence[str]], documents: Sequence[int]
    ) -> Iterator[Encoded]:
        """Untagged sentences, encoded; their indices follow those of the training sentences so far."""
        offset = self._encoded["train"][-1].index[-1] + 1
        coded = self.encoder.encode(sentences, documents)
        for each in progress.paced(coded, "sentences of text tokenised", len(sentences)):
            yield replace(each, index=each.index + offset)

    def entity_counts(self) -> dict[str, dict[str, int]]:
        """Number of entities of each type and surface form in the training data."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in self.labels.types}
        for words, tags in tagged(self.split("train").sentences):
            for span in spans(tags):
                counts[span.type][" ".join(words[span.start : span.end])] += 1
        return {name: dict(counter.most_common()) for name, counter in counts.items()}

    def _tag_ids(self, name: str, number: int) -> list[int]:
        split = self.split(name)
        sentence = split.sentences[number]
        assert sentence.tags is not None, "splits are read with tags"
        try:
            return self.scored_labels(name).encode(sentence.tags)
        except UserError as error:
            text = textwrap.shorten(" ".join(sentence.words), 60, placeholder=" ...")
            raise UserError(
                f"{split.origin}, sentence {number + 1} ({text}): {error}.\n"
                "Fix the tag, name all types (--data.types [PER,...]), or leave the type out "
                "(--data.files.rename_types TYPE=)"
            ) from None


def tagged(sentences: Sequence[Sentence]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Words and tags of tagged sentences."""
    return [(s.words, s.tags) for s in sentences if s.tags is not None]
