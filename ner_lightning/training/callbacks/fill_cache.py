"""FillFeatureCache: computes and opens the cached features of the frozen layers at the start of a fit."""

import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from ner_lightning.data.batching import EncodedDataset
from ner_lightning.data.feature_store import (
    FeatureLayout,
    FeatureStore,
    FeatureWriter,
    key_of,
    load,
    make_part,
    passages_digest,
)
from ner_lightning.data.sampling import LengthGroupedSampler
from ner_lightning.errors import UserError
from ner_lightning.model.backbone import evaluating
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.features import FeatureExtractor
from ner_lightning.runs.provenance import package_versions
from ner_lightning.system.progress import paced, stage
from ner_lightning.system.terminal import redraws
from ner_lightning.training.datamodule import SPLITS_OF_STAGE, CoNLLDataModule
from ner_lightning.training.module import NERModule

TOKENS = 2048  # padded sub-tokens in a batch of the pass that fills the cache
# Packages whose version can change features; the tokenizer's effect is in the data's fingerprint.
PACKAGES = ("torch", "transformers")


class FillFeatureCache(Callback):
    """Gives the data module the features below the trained layers, computed at most once."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the cache of the training and validation sentences, filling it first if need be.

        Raises:
            UserError: there is no `CoNLLDataModule`, no layer is frozen, or the cache exceeds its limit.
        """
        assert isinstance(pl_module, NERModule)
        if not pl_module.cache.enabled:
            return
        data: Any = getattr(trainer, "datamodule", None)
        if not isinstance(data, CoNLLDataModule):
            raise UserError("model.cache needs a CoNLLDataModule; with loaders of your own leave it out")
        emitter = pl_module.built.emitter
        assert isinstance(emitter, BackboneEmitter), "an ensemble is not trained"
        depth = emitter.backbone.frozen_depth()
        if depth == 0:
            raise UserError("model.cache: the backbone has no frozen layer")
        features = FeatureExtractor(emitter, depth, pl_module.settings.architecture.causal_below)
        for split in SPLITS_OF_STAGE["fit"]:
            data.use_features(split, _open(trainer, pl_module, features, data, split))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Takes the features away: the data module may be given to another model."""
        data: Any = getattr(trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, CoNLLDataModule):
            for split in SPLITS_OF_STAGE["fit"]:
                data.use_features(split, None)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Takes the features away as well."""
        self.teardown(trainer, pl_module, trainer.state.fn or "")


def _open(
    trainer: pl.Trainer, module: NERModule, features: FeatureExtractor, data: CoNLLDataModule, split: str
) -> FeatureStore:
    """The features of a split, from the cache or computed into it by all ranks together."""
    settings = module.cache
    sentences = data.corpus.encoded(split)
    layout = FeatureLayout.of(sentences, words=features.words, width=features.width, dtype=features.dtype)
    depends = features.describe() | {
        "weights": module.weights_id,
        "device": trainer.strategy.root_device.type,
        "data": passages_digest(sentences),
        "versions": {name: package_versions().get(name) for name in PACKAGES},
    }
    key = key_of(depends)
    folder = settings.path
    store = load(folder, key, layout) if trainer.is_global_zero else None
    if trainer.strategy.broadcast(store is not None):
        if trainer.is_global_zero:
            stage(f"Features of {split}: {layout.size / 1e6:,.0f} MB from {folder / key}")
        return store or _load(folder, key, layout)
    part: Path | None = None
    if trainer.is_global_zero:
        stage(f"Features of {split}: {layout.size / 1e6:,.0f} MB go to {folder / key}")
        part = make_part(folder, key, layout, settings.limit_gb)
    part = trainer.strategy.broadcast(part)
    assert part is not None
    writer = FeatureWriter(part, layout)
    _fill(writer, features, data, split, trainer)
    writer.flush()
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        writer.finish(folder, key, depends)
    trainer.strategy.barrier()
    return _load(folder, key, layout)


def _load(folder: Path, key: str, layout: FeatureLayout) -> FeatureStore:
    store = load(folder, key, layout)
    if store is None:
        raise UserError(f"model.cache.folder {folder} must be one that all processes share")
    return store


def _fill(
    writer: FeatureWriter, features: FeatureExtractor, data: CoNLLDataModule, split: str, trainer: pl.Trainer
) -> None:
    """Computes this rank's share of a split."""
    sentences = data.corpus.encoded(split)
    dataset = EncodedDataset(sentences, data.corpus.encoder.pad_id)
    sampler = LengthGroupedSampler(
        sentences,
        batch_size=1,
        tokens_per_batch=TOKENS,
        shuffle=False,
        rank=trainer.global_rank,
        world=trainer.world_size,
    )
    what = f"Features of {split}: batches"
    bar = tqdm(sampler, desc=what, leave=False, disable=not (trainer.is_global_zero and redraws(sys.stderr)))
    with evaluating(features.emitter):  # features are computed without dropout
        for indices in paced(bar, what, len(sampler)) if bar.disable else bar:
            batch = dataset[indices]
            values = features(batch.to(trainer.strategy.root_device)).cpu()
            # Both come in the order of the sentences: words by row, sub-tokens by window.
            rows = values[batch.mask if features.words else batch.attention_mask]  # (rows of all, D)
            counts = np.diff(writer.layout.starts)[indices]
            for index, part in zip(indices, torch.split(rows, counts.tolist()), strict=True):
                writer.put(index, part)
