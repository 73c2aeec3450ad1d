"""What can be kept of a batch from one epoch to the next: word vectors, or hidden states at a cut."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.errors import UserError
from ner_lightning.model.backbone import find_layers
from ner_lightning.model.layer_split import LayerSplit
from ner_lightning.model.tagger import Tagger
from ner_lightning.system.ranges import PositiveFloat, check_arguments


@dataclass(frozen=True)
class CacheSettings:
    """Keeps on disk what the layers that are not trained compute, for every epoch and every later run.

    Args:
        enabled: use it; needs a frozen backbone, with adapters (if any) on the top layers only.
        folder: where it lies; null is `ner-lightning` in the user's cache folder.
        limit_gb: the most that one split may take, in GB.
    """

    enabled: bool = False
    folder: str | None = None
    limit_gb: PositiveFloat = 20.0

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "model.cache.")

    @property
    def place(self) -> Path:
        """The folder."""
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        return Path(self.folder or base / "ner-lightning").expanduser()


class FeatureCache:
    """Computes what can be kept of batches, and prepares a tagger to be given it.

    If no layer is trained, that is the word vectors; otherwise the hidden states that enter the
    lowest trained layer.

    Args:
        tagger: is cut in place.
        depth: number of layers at the bottom that are not trained, at least 1.

    Raises:
        UserError: this backbone's upper layers do not follow from what was kept.
    """

    def __init__(self, tagger: Tagger, depth: int) -> None:
        self.tagger = tagger
        self.depth = depth
        self.words = depth == len(find_layers(tagger.backbone))
        if not self.words:
            tagger.cut = LayerSplit(tagger.backbone, depth)
        self.dtype = self._prove()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """What to keep of a batch; the tagger should be in evaluation mode.

        Returns:
            word vectors *Shape:* (B, W, D), or hidden states *Shape:* (R, T, D).
        """
        cut = self.tagger.cut
        if cut is None:
            return self.tagger.word_vectors(batch)
        return cut.below(lambda: self.tagger.hidden(batch))

    def describe(self) -> dict[str, Any]:
        """What the kept numbers depend on, but for weights, data and versions."""
        config: Any = self.tagger.backbone.config
        return {
            "depth": self.depth,
            "pooling": self.tagger.pooling if self.words else None,
            "causal": config.is_causal,
            "causal_below": self.tagger.causal_below,
            "attention": config._attn_implementation,
            "bf16": self.tagger.bf16,
            "dtype": str(self.dtype),
        }

    @torch.no_grad()
    def _prove(self) -> torch.dtype:
        """Runs a short sentence whole and in two parts: nothing in a backbone's code may tell them apart."""
        device = self.tagger.head.weight.device
        ids = torch.arange(1, 7, device=device).unsqueeze(0)
        real = torch.ones_like(ids, dtype=torch.bool)
        place = ids - 1
        batch = Batch(ids, real, place, place, real, None, ids[:, 0])
        was_training = self.tagger.training
        self.tagger.eval()
        kept = self(batch)
        whole = self.tagger.word_vectors(batch).float()
        batch.features = kept
        parts = self.tagger.word_vectors(batch).float()
        self.tagger.train(was_training)
        if not torch.allclose(whole, parts, rtol=1e-3, atol=1e-5 * float(whole.abs().max())):
            raise UserError(
                "model.cache: this backbone's upper layers need more than the hidden states below them; "
                "set model.cache.enabled to false"
            )
        return kept.dtype
