"""Batch, and `collate`: pads the sentences of a batch to rows, or packs them into one row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ner_lightning.data.feature_store import FeatureStore
from ner_lightning.data.tokenization.encoding import Encoded


@dataclass(slots=True)
class Batch:
    """Sentences as tensors. R rows of T sub-tokens, B sentences of W words.

    A row holds a sentence, a part of a long one, or several that are read together.

    Attributes:
        input_ids: sub-tokens, padded on the right. *Shape:* (R, T)
        attention_mask: true on real sub-tokens. *Shape:* (R, T)
        first: flat place in R x T of each word's first sub-token, 0 on padding. *Shape:* (B, W)
        last: the same for its last sub-token. *Shape:* (B, W)
        mask: true on real words, a prefix of each row. *Shape:* (B, W)
        tags: tag ids, 0 on padding; None without gold tags. *Shape:* (B, W)
        index: each sentence's position in its split. *Shape:* (B,)
        positions: each sub-token's place in its own window where all of them share one row without
            padding; None where each window has a row. *Shape:* (1, T)
        padded: whether any row ends in padding, known without asking the device.
        states: kept word vectors, *Shape:* (B, W, D), or hidden states, *Shape:* (R, T, D); None
            without a cache.
    """

    input_ids: Tensor
    attention_mask: Tensor
    first: Tensor
    last: Tensor
    mask: Tensor
    tags: Tensor | None
    index: Tensor
    positions: Tensor | None = None
    padded: bool = True
    states: Tensor | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        """The same batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory; the data loader calls this on GPU machines."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {k: change(v) for k, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def collate(passages: Sequence[Encoded], pad_id: int, *, packed: bool = False) -> Batch:
    """Pads encoded passages into one batch, in the order given.

    Args:
        passages: at least one.
        pad_id: the sub-token on padding.
        packed: put all windows into one row, one after the other, instead of padding them.
    """
    rows = [ids for passage in passages for ids in passage.windows]
    lengths = np.array([len(ids) for ids in rows])
    if packed:
        begins = np.cumsum(lengths) - lengths  # flat place of each window's first sub-token
        input_ids = np.concatenate(rows)[None]
        attention = np.ones_like(input_ids, dtype=bool)
        positions = np.arange(input_ids.size) - np.repeat(begins, lengths)
    else:
        begins = np.arange(len(rows)) * lengths.max()
        attention = np.arange(lengths.max()) < lengths[:, None]
        input_ids = np.full(attention.shape, pad_id, dtype=np.int64)
        input_ids[attention] = np.concatenate(rows)
    counts = np.concatenate([passage.counts for passage in passages])
    mask = np.arange(counts.max()) < counts[:, None]
    first, last, tags = (np.zeros(mask.shape, dtype=np.int64) for _ in range(3))
    # Words come in the order of sentences on both sides, so one assignment places those of all.
    before = np.cumsum([0, *(len(passage.windows) for passage in passages)])
    base = [begins[row + passage.window] for row, passage in zip(before[:-1], passages, strict=True)]
    first[mask] = np.concatenate([b + p.first for b, p in zip(base, passages, strict=True)])
    last[mask] = np.concatenate([b + p.last for b, p in zip(base, passages, strict=True)])
    gold = [passage.tags for passage in passages if passage.tags is not None]
    tagged = len(gold) == len(passages)
    if tagged:
        tags[mask] = np.concatenate(gold)
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        attention_mask=torch.from_numpy(attention),
        first=torch.from_numpy(first),
        last=torch.from_numpy(last),
        mask=torch.from_numpy(mask),
        tags=torch.from_numpy(tags) if tagged else None,
        index=torch.from_numpy(np.concatenate([passage.index for passage in passages])),
        positions=torch.from_numpy(positions[None]) if packed else None,
        padded=not attention.all(),
    )


def _kept(places: Sequence[int], states: FeatureStore, real: Tensor) -> Tensor:
    """The rows of passages in a cache, padded like a batch. *Shape:* `real` (N, M); (N, M, D)."""
    spans = [(states.starts[place], states.starts[place + 1]) for place in places]
    rows = torch.zeros(real.shape, dtype=torch.long)  # row 0 on padding, where anything will do
    rows[real] = torch.from_numpy(np.concatenate([np.arange(begin, end) for begin, end in spans]))
    return torch.nn.functional.embedding(rows, states.values)  # twice as fast as an index


class EncodedDataset(Dataset[Batch]):
    """Encoded passages; indexed with a list of positions it returns their batch.

    Args:
        passages: of a split, in its order.
        pad_id: the sub-token on padding.
        states: what is kept of the split.
        packed: as at `collate`.
    """

    def __init__(
        self,
        passages: Sequence[Encoded],
        pad_id: int,
        states: FeatureStore | None = None,
        *,
        packed: bool = False,
    ) -> None:
        self.passages = passages
        self.pad_id = pad_id
        self.states = states
        self.packed = packed

    def __len__(self) -> int:
        return len(self.passages)

    def __getitem__(self, places: list[int]) -> Batch:
        batch = collate([self.passages[place] for place in places], self.pad_id, packed=self.packed)
        if self.states is not None:
            batch.states = _kept(
                places, self.states, batch.mask if self.states.words else batch.attention_mask
            )
        return batch
