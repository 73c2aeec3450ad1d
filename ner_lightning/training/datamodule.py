"""CoNLLDataModule: any tagged data set as length-grouped batches, on any number of ranks."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus
from torch.utils.data import DataLoader

from ner_lightning.data import word_agreement
from ner_lightning.data.batching import Batch, EncodedDataset
from ner_lightning.data.corpus import Corpus
from ner_lightning.data.corpus_settings import Batches, Encoding, Files, Limits, Supervision
from ner_lightning.data.feature_store import FeatureStore
from ner_lightning.data.in_memory import Memory
from ner_lightning.data.sampling import LengthGroupedSampler, RepeatedBatches
from ner_lightning.data.sources import DATASET, NO_DATASET, SentenceSource, Source
from ner_lightning.data.tokenization.tokenizer_source import TokenizerSource
from ner_lightning.errors import UserError
from ner_lightning.model.extensions import made
from ner_lightning.model.tagger_settings import TaggerSettings
from ner_lightning.runs.provenance import package_versions
from ner_lightning.system import progress
from ner_lightning.system.plain_settings import coerced, to_plain
from ner_lightning.system.ranges import Seed, check_arguments, register
from ner_lightning.system.terminal import counted
from ner_lightning.training.rank_agreement import check_ranks_agree
from ner_lightning.training.stored_settings import StoredSettings, check_unchanged

register()
LOCAL = {"backbone", "revision", "runtime"}  # settings that may be another path or another way on each node
SPLITS_OF_STAGE = {"fit": ("train", "valid"), "validate": ("valid",), "test": ("test",), "predict": ("test",)}


class CoNLLDataModule(StoredSettings, pl.LightningDataModule):
    """Sentences of words with one tag each, from the Hugging Face Hub, local files or memory.

    Files may be in any format of `data.readers.formats`, their tags in IOB1, BIO2 or BIOES; they become BIO2.
    In training data a tag may be `?`: unknown.

    Args:
        dataset: a Hub id, a folder with train, valid and test, a file, or `sample` for the bundled corpus. Of
            a file, or a folder with only train, a tenth is held out for validation and a tenth for test.
        train: a file of training sentences, instead of the data set's; `dataset` must then be named, or valid
            and test given. In Python also the sentences themselves: what `read_sentences` returns, pairs of
            words and tags, dicts with the columns of `files`, or such columns in a dict, a data frame or a
            `datasets.Dataset`.
        valid: the same for validation.
        test: the same for test.
        files: how files, or the columns of what is given, are read.
        source: where sentences come from instead: a `SentenceSource` of your own, by `class_path`.
        supervision: what is learned from beside gold tags, and how much sentences count.
        types: the entity types; null takes them from the training data, all of it also with `limits.train`.
        encoding: how words become rows of sub-tokens.
        batches: how sentences are put into batches.
        limits: how many sentences are used.
        seed: of the order of training batches.
        backbone: whose tokenizer is used; set by `model.backbone`.
        backbone_revision: set by `model.revision`.
        trust_remote_code: set by `model.runtime.trust_remote_code`.
    """

    def __init__(
        self,
        dataset: str = DATASET,
        train: Any = None,
        valid: Any = None,
        test: Any = None,
        files: Files = Files(),
        source: SentenceSource | None = None,
        supervision: Supervision = Supervision(),
        types: list[str] | None = None,
        encoding: Encoding = Encoding(),
        batches: Batches = Batches(),
        limits: Limits = Limits(),
        seed: Seed = 0,
        backbone: str = "",
        backbone_revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(type(self), locals(), "data.")
        files, encoding = coerced(Files, files), coerced(Encoding, encoding)
        batches, limits = coerced(Batches, batches), coerced(Limits, limits)
        supervision = coerced(Supervision, supervision)
        dataset = dataset if dataset is DATASET else str(os.fspath(dataset))
        given = {"train": train, "valid": valid, "test": test}
        paths = {name: str(value) for name, value in given.items() if isinstance(value, str | os.PathLike)}
        memory = {name: value for name, value in given.items() if value is not None and name not in paths}
        # Nobody named the default, whose other splits have nothing to do with one's own training data. A name
        # that is given is another object, also if it is the same.
        if train is not None and dataset is DATASET:
            dataset = NO_DATASET
        settings = {"dataset": dataset, "source": source, "seed": seed}
        groups = {"files": files, "encoding": encoding, "batches": batches, "limits": limits}
        groups["supervision"] = supervision
        train = valid = test = None  # Lightning compares all arguments, and a data frame cannot be compared
        self.save_hyperparameters(to_plain(settings | groups | {name: paths.get(name) for name in given}))
        own = None if source is None else made(source, SentenceSource, "data.source", trust_remote_code)
        sentences = own or Source(dataset, paths, files)
        if memory:
            sentences = Memory(memory, files, sentences)
        tokenizer = TokenizerSource(backbone, backbone_revision, trust_remote_code)
        self.corpus = Corpus(sentences, tokenizer, encoding, limits, types, files.unannotated, supervision)
        self.batches = batches
        self.seed = seed
        self._datasets: dict[str, EncodedDataset] = {}
        self._sampler: LengthGroupedSampler | None = None  # of the training batches
        self._resumed: str | None = None  # fingerprint of the batches of the epoch that is resumed

    @property
    def types(self) -> list[str]:
        """The entity types, in the data set's own order; reads the training data if need be."""
        return list(self.corpus.labels.types)

    def dataset(self, name: str) -> EncodedDataset:
        """A split's batches."""
        if name not in self._datasets:
            self._datasets[name] = EncodedDataset(
                self.corpus.encoded(name),
                self.corpus.encoder.pad_id,
                packed=self.batches.packing,
                weights=self.corpus.weights(name),
                teacher=self.corpus.teacher if name == "train" else None,
                encoding=self.corpus.encoding,
            )
        return self._datasets[name]

    def use_features(self, name: str, features: FeatureStore | None) -> None:
        """Gives a split's batches what a cache keeps of it, also those of a loader that is there already.

        Args:
            name: the split.
            features: of its sentences; None takes them away.
        """
        if features is not None or name in self._datasets:
            self.dataset(name).features = features

    def setup(self, stage: str) -> None:
        """Reads and encodes what the stage needs, with the module's tokenizer if none was named."""
        corpus: Any = {"encoding": self.corpus.encoding, "supervision": self.corpus.supervision}
        check_unchanged(self, to_plain(corpus | {"batches": self.batches, "seed": self.seed}))
        settings = getattr(self.trainer and self.trainer.lightning_module, "settings", None)
        if not self.corpus.tokenizer.backbone and isinstance(settings, TaggerSettings):
            trust = settings.runtime.trust_remote_code
            self.corpus.tokenizer = TokenizerSource(settings.backbone, settings.revision, trust)
        names = SPLITS_OF_STAGE[stage]
        train = self.corpus.split("train") if stage == "fit" else None
        if train is not None and (line := word_agreement.warning(train.origin, train.sentences)):
            progress.warn(line)
        count = sum(len(self.corpus.split(name).sentences) for name in names)
        progress.stage(f"Tokenising {count:,} sentences ...")
        for name in names:
            self.corpus.encoded(name)
        self._check_ranks(names, settings if isinstance(settings, TaggerSettings) else None)

    def _check_ranks(self, names: Sequence[str], settings: TaggerSettings | None) -> None:
        data = {name: self.corpus.split(name).fingerprint for name in names} | {"types": self.types}
        data |= {"encoding": to_plain(self.corpus.encoding), "batches": to_plain(self.batches)}
        model = {} if settings is None else to_plain(vars(settings))
        model = {name: value for name, value in model.items() if name not in LOCAL}
        versions = {name: package_versions().get(name) for name in ("ner-lightning", "torch", "transformers")}
        check_ranks_agree({"data": data, "seed": self.seed, "model": model, "versions": versions})

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled, length-grouped training batches, continuing an interrupted epoch where it stopped."""
        loader = self._loader("train", self.batches.size, shuffle=True)
        if self.trainer is not None and isinstance(loader.sampler, LengthGroupedSampler):
            loader.sampler.done = partial(_batches_done, self.trainer, self)
            loader.sampler.expected, self._resumed = self._resumed, None
            self._sampler = loader.sampler
        return loader

    def state_dict(self) -> dict[str, Any]:
        """What the training batches of this epoch are, so that none but them are continued."""
        return {} if self._sampler is None else {"batches": self._sampler.fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remembers it for the epoch that is resumed."""
        self._resumed = state_dict["batches"]

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches, each sentence once over all ranks."""
        return self._loader("valid", self.batches.eval_size, shuffle=False)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test batches, each sentence once over all ranks."""
        return self._loader("test", self.batches.eval_size, shuffle=False)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Copies a batch without waiting for the steps before it; Lightning waits for what is no tensor."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test batches, for `Trainer.predict`."""
        return self.test_dataloader()

    def _loader(self, split: str, batch_size: int, *, shuffle: bool) -> DataLoader[Batch]:
        encoded = self.corpus.encoded(split)
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if len(encoded) < world:
            what = "passage" if self.corpus.encoding.context else "sentence"  # which are read together
            number = counted(len(encoded), what)
            raise UserError(f"{split} has {number}, fewer than the {world} devices; use fewer devices")
        overfits = getattr(self.trainer, "overfit_batches", 0) > 0
        sampler = (RepeatedBatches if overfits else LengthGroupedSampler)(
            encoded,
            batch_size=batch_size,
            tokens_per_batch=self.batches.tokens,
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


def _batches_done(trainer: pl.Trainer, data: CoNLLDataModule) -> int:
    """How many batches of this epoch a trainer has taken; outside of its fit none are left out."""
    state: Any = trainer.state
    if state.fn != TrainerFn.FITTING or state.status != TrainerStatus.RUNNING:
        return 0
    if getattr(trainer, "datamodule", None) is not data:
        return 0
    return int(trainer.fit_loop.epoch_loop.batch_progress.current.ready)
