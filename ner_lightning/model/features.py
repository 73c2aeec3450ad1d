"""FeatureExtractor: computes what can be cached of a batch, word vectors or hidden states at a split."""

from typing import Any

import torch
from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.errors import UserError
from ner_lightning.model.backbone import evaluating
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.model.layer_split import LayerSplit


class FeatureExtractor:
    """Computes what can be cached of batches, and prepares an emitter to be given it.

    If no layer is trained, that is the word vectors; otherwise the hidden states that enter the
    lowest trained layer.

    Args:
        emitter: gets its split.
        depth: number of layers at the bottom that are not trained, at least 1.
        causal_below: number of layers at the bottom that are causal in any case.

    Attributes:
        dtype: of what is cached.
        width: its last dimension, D.

    Raises:
        UserError: this backbone's upper layers need more than the cached hidden states.
    """

    def __init__(self, emitter: BackboneEmitter, depth: int, causal_below: int = 0) -> None:
        self.emitter = emitter
        self.causal_below = causal_below
        self.depth = depth
        self.words = depth == len(emitter.backbone.layers)
        emitter.split = None if self.words else LayerSplit(emitter.backbone, depth)
        cached = self._check()
        self.dtype, self.width = cached.dtype, cached.shape[-1]

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """What to cache of a batch; the emitter should be in evaluation mode.

        Returns:
            word vectors *Shape:* (B, W, D), or hidden states *Shape:* (R, T, D).
        """
        split = self.emitter.split
        if split is None:
            return self.emitter.word_vectors(batch)
        return split.below(lambda: self.emitter.hidden(batch))

    def describe(self) -> dict[str, Any]:
        """What the cached numbers depend on, beside weights, data and versions."""
        backbone = self.emitter.backbone
        return {
            "depth": self.depth,
            "pooling": self.emitter.pooling if self.words else None,
            "causal": backbone.config.is_causal,
            "causal_below": self.causal_below,
            "attention": backbone.config._attn_implementation,
            "bf16": backbone.bf16,
            "quantization": str(getattr(backbone.config, "quantization_config", None)),
            "dtype": str(self.dtype),
        }

    @torch.no_grad()
    def _check(self) -> Tensor:
        """What is cached of a short sentence, which is run whole and in two parts: these must agree."""
        device = self.emitter.head.weight.device
        ids = torch.arange(1, 7, device=device).unsqueeze(0)
        real = torch.ones_like(ids, dtype=torch.bool)
        index = ids - 1
        batch = Batch(ids, real, index, index, real, None, ids[:, 0])
        with evaluating(self.emitter):
            cached = self(batch)
            whole = self.emitter.word_vectors(batch).float()
            batch.features = cached
            # In XLNet the first dimension is sub-tokens.
            fits = cached.shape[:2] == ids.shape
            parts = self.emitter.word_vectors(batch).float() if fits else torch.zeros_like(whole)
        if not torch.allclose(whole, parts, rtol=1e-3, atol=1e-5 * float(whole.abs().max())):
            raise UserError(
                "model.cache: this backbone's upper layers need more than the hidden states below them; "
                "set model.cache.enabled to false"
            )
        return cached
