"""CoNLLDataModule: any tagged data set as length-grouped batches, on any number of ranks."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader

from ner_lightning.data.batching import Batch, EncodedDataset
from ner_lightning.data.feature_store import FeatureStore
from ner_lightning.data.positions import window_length
from ner_lightning.data.pretrained import locate
from ner_lightning.data.sampling import LengthGroupedSampler, RepeatedBatches
from ner_lightning.data.schemes import LabelSet, spans
from ner_lightning.data.sentence import Sentence, unknown_entities, unknown_types
from ner_lightning.data.sources import SentenceSource, Source, Split
from ner_lightning.data.tokenization.encoding import Encoded, Encoder, load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.system import progress
from ner_lightning.system.ranges import NonNegativeInt, PositiveInt, Seed, check_arguments, register

register()


class CoNLLDataModule(pl.LightningDataModule):
    """Sentences of words with one tag each, from the Hugging Face Hub or from local files.

    Tags may follow IOB1, BIO2 or BIOES, differently in each file; they are turned into BIO2.

    Args:
        dataset: a Hub id, a folder with train, valid and test files (CoNLL columns, JSONL or CSV), or
            `sample` for the bundled corpus.
        train_file: a file of training sentences, instead of the data set's.
        valid_file: the same for validation.
        test_file: the same for test.
        config: the Hub data set's configuration, where it has several.
        revision: the Hub data set's branch, tag or commit.
        words_column: the Hub column, JSONL field or CSV column with the words; the number, from 0, of a CoNLL
            column.
        tags_column: the same with the tags.
        document_column: the Hub column, JSONL field or CSV column that names each sentence's document, where
            there is one.
        source: where sentences come from instead: a `SentenceSource` of your own, by `class_path`.
        types: the entity types; null takes them from the training data, all of it also with `train_limit`.
        train_limit: train on the first sentences only.
        valid_limit: validate on the first sentences only.
        batch_size: sentences in a training batch, on each rank.
        eval_batch_size: sentences in a validation or test batch.
        tokens_per_batch: the most padded sub-tokens in a batch, instead of a number of sentences.
        packing: put a batch's sentences into one row without padding, each seeing itself alone; needs a
            backbone with rotary positions and attn_implementation auto, eager or sdpa.
        max_length: the most sub-tokens in a window; longer sentences are split and stitched. Null takes 512,
            or as many as the backbone has positions where those are fewer.
        overlap: sub-tokens that the windows of a long sentence share.
        context: read consecutive sentences of a document together, up to this many sub-tokens; null reads
            each sentence alone. `batch_size` then counts such passages.
        repeats: write the text this many times more and tag its last copy: right context for a causal model.
        prefix_space: false tokenises words without the space before them; a control, not a choice.
        first_space: put a space before a sentence's first word too, so that a name is the same sub-tokens
            there as inside a sentence.
        seed: of the order of training batches.
        backbone: whose tokenizer is used; set by `model.backbone`.
        backbone_revision: set by `model.revision`.
        trust_remote_code: set by `model.trust_remote_code`.
    """

    def __init__(
        self,
        dataset: str = "eriktks/conll2003",
        train_file: str | None = None,
        valid_file: str | None = None,
        test_file: str | None = None,
        config: str | None = None,
        revision: str | None = None,
        words_column: str = "tokens",
        tags_column: str = "ner_tags",
        document_column: str | None = None,
        source: SentenceSource | None = None,
        types: list[str] | None = None,
        train_limit: PositiveInt | None = None,
        valid_limit: PositiveInt | None = None,
        batch_size: PositiveInt = 8,
        eval_batch_size: PositiveInt = 32,
        tokens_per_batch: PositiveInt | None = None,
        packing: bool = False,
        max_length: PositiveInt | None = None,
        overlap: NonNegativeInt = 64,
        context: PositiveInt | None = None,
        repeats: NonNegativeInt = 0,
        prefix_space: bool = True,
        first_space: bool = False,
        seed: Seed = 0,
        backbone: str = "",
        backbone_revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(type(self), locals(), "data.")
        files = {"train": train_file, "valid": valid_file, "test": test_file}
        self.source = source or Source(
            dataset=dataset,
            files={split: file for split, file in files.items() if file is not None},
            config=config,
            revision=revision,
            words_column=words_column,
            tags_column=tags_column,
            document_column=document_column,
        )
        self.limits = {"train": train_limit, "valid": valid_limit}
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.tokens_per_batch, self.packing = tokens_per_batch, packing
        self.encoding: dict[str, Any] = {
            "max_length": max_length,
            "overlap": overlap,
            "context": context,
            "repeats": repeats,
            "prefix_space": prefix_space,
            "first_space": first_space,
        }
        self.seed = seed
        self.backbone, self.backbone_revision = backbone, backbone_revision
        self.trust_remote_code = trust_remote_code
        self._datasets: dict[str, EncodedDataset] = {}
        self._types = types
        self._splits: dict[str, Split] = {}
        self._whole: dict[str, Split] = {}
        self._unknown: dict[str, dict[str, int]] = {}
        self._encoded: dict[str, list[Encoded]] = {}

    @property
    def types(self) -> list[str]:
        """The entity types, in the data set's own order; reads the training data if need be."""
        return list(self.labels.types)

    @cached_property
    def labels(self) -> LabelSet:
        """The label set, built here and nowhere else: of the whole training data, whatever their limit."""
        if self._types is not None:
            return LabelSet(tuple(self._types))
        train, whole = self.split("train"), self._read("train")
        found = LabelSet.from_tags(tags for _, tags in tagged(whole.sentences))
        labels = LabelSet(train.types) if train.types else found
        used = {span.type for _, tags in tagged(train.sentences) for span in spans(tags)}
        if lacking := [name for name in labels.types if name not in used and name in found.types]:
            progress.stage(
                f"The first {len(train.sentences):,} of {len(whole.sentences):,} training sentences "
                f"(data.train_limit) hold no {', '.join(lacking)}; the types are those of the whole."
            )
        return labels

    def unknown(self, name: str) -> dict[str, int]:
        """How many gold entities of a split are of types that are not in the label set.

        None of the training split: there such a type is an error.
        """
        if name not in self._unknown:
            sentences = () if name == "train" else self.split(name).sentences
            self._unknown[name] = unknown_entities(sentences, self.labels.types)
        return self._unknown[name]

    def scored_labels(self, name: str) -> LabelSet:
        """The tags of a split's gold entities: the label set's, then those of types that it does not have.

        No entity of the latter can be predicted, so that they are scored as missed.
        """
        return LabelSet((*self.labels.types, *self.unknown(name)))

    def warn_of_unknown(self, name: str) -> None:
        """Names the types that `scored_labels` adds, where there are any."""
        if self.unknown(name):
            progress.warn(unknown_types(self.split(name).origin, self.unknown(name), self.types))

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder around the backbone's tokenizer."""
        tokenizer = load_tokenizer(
            locate(self.backbone, self.backbone_revision), trust_remote_code=self.trust_remote_code
        )
        return Encoder(tokenizer, **self.encoding | {"max_length": self.max_length})

    @cached_property
    def max_length(self) -> int:
        """The most sub-tokens in a window, which the backbone's positions limit."""
        return window_length(
            self.encoding["max_length"],
            locate(self.backbone, self.backbone_revision),
            trust_remote_code=self.trust_remote_code,
        )

    def split(self, name: str) -> Split:
        """The sentences of train, valid or test, read once and cut to their limit."""
        if name not in self._splits:
            split = self._read(name)
            limit = self.limits.get(name)
            if limit is not None:
                split = Split(
                    split.sentences[:limit], split.types, split.origin, f"{split.fingerprint}[:{limit}]"
                )
            if not split.sentences:
                raise UserError(f"{split.origin} holds no sentences")
            self._splits[name] = split
        return self._splits[name]

    def _read(self, name: str) -> Split:
        """A split without its limit, read once."""
        if name not in self._whole:
            self._whole[name] = self.source.read(name)
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
        return self._encoded[name]

    def _documents(self, name: str) -> list[int]:
        """The document of each sentence of a split."""
        split = self.split(name)
        documents = [sentence.document for sentence in split.sentences]
        if self.encoding["context"] and len(set(documents)) == 1:
            progress.stage(f"{split.origin} names no documents: all its sentences are read as one.")
        return documents

    def dataset(self, name: str) -> EncodedDataset:
        """A split's batches."""
        if name not in self._datasets:
            self._datasets[name] = EncodedDataset(
                self.encoded(name), self.encoder.pad_id, packed=self.packing
            )
        return self._datasets[name]

    def add_text(self, sentences: Sequence[Sequence[str]], documents: Sequence[int]) -> None:
        """Adds sentences to the training data of which only the words are known, to learn to fill them in.

        Args:
            sentences: the words of each, at least one.
            documents: the document of each.
        """
        coded = self.encoder.encode(sentences, documents)
        more = progress.paced(coded, "sentences of text tokenised", len(sentences))
        known = self.encoded("train")
        places = known[-1].index[-1] + 1  # where they stand in messages: behind what is there
        self._encoded["train"] = [*known, *(replace(each, index=each.index + places) for each in more)]

    def use_states(self, name: str, states: FeatureStore) -> None:
        """Gives a split's batches what a cache keeps of it, also those of a loader that is there already."""
        self.dataset(name).features = states

    def entity_counts(self) -> dict[str, dict[str, int]]:
        """How often each surface form is an entity of each type in the training data."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in self.labels.types}
        for words, tags in tagged(self.split("train").sentences):
            for span in spans(tags):
                counts[span.type][" ".join(words[span.start : span.end])] += 1
        return {name: dict(counter.most_common()) for name, counter in counts.items()}

    def setup(self, stage: str) -> None:
        """Reads and encodes what the stage needs."""
        names = {"fit": ("train", "valid"), "validate": ("valid",), "test": ("test",)}[stage]
        count = sum(len(self.split(name).sentences) for name in names)
        progress.stage(f"Tokenising {count:,} sentences ...")
        for name in names:
            self.encoded(name)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled, length-grouped training batches, continuing an interrupted epoch where it stopped."""
        loader = self._loader("train", self.batch_size, shuffle=True)
        if self.trainer is not None and isinstance(loader.sampler, LengthGroupedSampler):
            progress = self.trainer.fit_loop.epoch_loop.batch_progress
            loader.sampler.done = lambda: progress.current.ready
        return loader

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches, each sentence once over all ranks."""
        return self._loader("valid", self.eval_batch_size, shuffle=False)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test batches, each sentence once over all ranks."""
        return self._loader("test", self.eval_batch_size, shuffle=False)

    def _loader(self, split: str, batch_size: int, *, shuffle: bool) -> DataLoader[Batch]:
        encoded = self.encoded(split)
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if len(encoded) < world:
            what = "passages (sentences that are read together)" if self.encoding["context"] else "sentences"
            raise UserError(f"{split} has {len(encoded)} {what}, fewer than the {world} devices")
        overfits = getattr(self.trainer, "overfit_batches", 0) > 0
        sampler = (RepeatedBatches if overfits else LengthGroupedSampler)(
            encoded,
            batch_size=batch_size,
            tokens_per_batch=self.tokens_per_batch,
            shuffle=shuffle,
            seed=self.seed,
            rank=rank,
            world=world,
        )
        # Its own generator, so that starting an epoch draws nothing from dropout's random numbers.
        options: dict[str, Any] = {
            "batch_size": None,
            "sampler": sampler,
            "generator": torch.Generator(),
        }
        return DataLoader(
            self.dataset(split),
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            **options,
        )

    def _tag_ids(self, name: str, number: int) -> list[int]:
        split = self.split(name)
        sentence = split.sentences[number]
        assert sentence.tags is not None, "a split is read with its tags"
        try:
            return self.scored_labels(name).encode(sentence.tags)
        except UserError as error:
            text = textwrap.shorten(" ".join(sentence.words), 60, placeholder=" ...")
            raise UserError(
                f"{split.origin}, sentence {number + 1} ({text}): {error}.\n"
                "Fix the tag, or name all types: --data.types [PER,...]"
            ) from None


def tagged(sentences: Sequence[Sentence]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Words and tags of tagged sentences."""
    return [(s.words, s.tags) for s in sentences if s.tags is not None]
