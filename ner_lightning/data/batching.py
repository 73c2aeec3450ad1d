"""Batch, and `collate`: pads the sentences of a batch to rows, or packs them into one row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.feature_store import FeatureStore
from ner_lightning.data.teacher import TeacherStore, TeacherTags
from ner_lightning.data.tokenization.encoding import Encoded


@dataclass(slots=True, eq=False)
class Batch:
    """Sentences as tensors: R rows of T sub-tokens, B sentences of W words.

    A row is a sentence, a window of a long one, or several sentences that are read together.

    Attributes:
        input_ids: sub-token ids, padded on the right. *Shape:* (R, T)
        attention_mask: True on real sub-tokens. *Shape:* (R, T)
        first: flat index into R x T of each word's first sub-token, 0 on padding. *Shape:* (B, W)
        last: the same for its last sub-token. *Shape:* (B, W)
        mask: True on words, a prefix of each row. *Shape:* (B, W)
        tags: tag ids, 0 on padding, -1 where unknown, -2 in text without tags; None without gold tags.
            *Shape:* (B, W)
        index: each sentence's index in its split. *Shape:* (B,)
        positions: each sub-token's position in its own window, if all windows are packed into one row; None
            if each window has its own row. *Shape:* (1, T)
        padded: whether any row ends in padding, known without a device synchronization.
        features: cached word vectors, *Shape:* (B, W, D), or hidden states, *Shape:* (R, T, D); None
            without a feature cache.
        partial: whether any tag is unknown.
        weights: how much each sentence counts in training; None if all count the same. *Shape:* (B,)
        teacher: what a teacher says of the tags, if there is one.
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
    features: Tensor | None = None
    partial: bool = False
    weights: Tensor | None = None
    teacher: TeacherTags | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        """A copy on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """A copy in page-locked memory; the data loader calls this on GPU machines."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {k: change(v) for k, v in values.items() if isinstance(v, Tensor)}
        if self.teacher is not None:
            moved["teacher"] = self.teacher.moved(change)
        return replace(self, **moved)


def collate(passages: Sequence[Encoded], pad_id: int, *, packed: bool = False) -> Batch:
    """Pads encoded passages into one batch, in the order given.

    Args:
        passages: at least one.
        pad_id: the sub-token id on padding.
        packed: put all windows into one row, one after the other, instead of padding them.
    """
    rows = [ids for passage in passages for ids in passage.windows]
    lengths = np.array([len(ids) for ids in rows])  # (windows,)
    if packed:
        offsets = np.cumsum(lengths) - lengths  # flat index of each window's first sub-token. (windows,)
        input_ids = np.concatenate(rows)[None]
        attention = np.ones_like(input_ids, dtype=bool)
        positions = np.arange(input_ids.size) - np.repeat(offsets, lengths)
    else:
        offsets = np.arange(len(rows)) * lengths.max()
        attention = np.arange(lengths.max()) < lengths[:, None]  # (R, T)
        input_ids = np.full(attention.shape, pad_id, dtype=np.int64)
        input_ids[attention] = np.concatenate(rows)
    counts = np.concatenate([passage.counts for passage in passages])  # (B,)
    mask = np.arange(counts.max()) < counts[:, None]  # (B, W)
    first, last, tags = (np.zeros(mask.shape, dtype=np.int64) for _ in range(3))
    # Words come in the order of sentences on both sides, so one assignment fills all of them.
    before = np.cumsum([0, *(len(passage.windows) for passage in passages)])  # windows of earlier passages
    base = [offsets[row + passage.window] for row, passage in zip(before[:-1], passages, strict=True)]
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
        partial=tagged and bool((tags < 0).any()),
    )


class EncodedDataset(Dataset[Batch]):
    """Encoded passages; indexed with a list of indices it returns their batch.

    Args:
        passages: of a split, in its order.
        pad_id: the sub-token id on padding.
        packed: as for `collate`.
        weights: how much each sentence of the split counts; None if all count the same.
        teacher: what a teacher says of the split's sentences.
        encoding: how the sentences became rows of sub-tokens, for the checkpoints of a training on them.

    Attributes:
        features: cached features of the split; None at first.
    """

    def __init__(
        self,
        passages: Sequence[Encoded],
        pad_id: int,
        *,
        packed: bool = False,
        weights: Sequence[float] | None = None,
        teacher: TeacherStore | None = None,
        encoding: Encoding | None = None,
    ) -> None:
        self.passages = passages
        self.pad_id = pad_id
        self.features: FeatureStore | None = None
        self.packed = packed
        self.weights = None if weights is None else torch.tensor(weights)
        self.teacher = teacher
        self.encoding = encoding

    def __len__(self) -> int:
        return len(self.passages)

    def __getitem__(self, indices: list[int]) -> Batch:
        batch = collate([self.passages[index] for index in indices], self.pad_id, packed=self.packed)
        if self.features is not None:
            mask = batch.mask if self.features.layout.words else batch.attention_mask
            batch.features = _features(indices, self.features, mask)
        if self.weights is not None:
            batch.weights = self.weights[batch.index]
        if self.teacher is not None:
            batch.teacher = self.teacher.batch(batch.index, batch.mask)
        return batch


def _features(indices: Sequence[int], store: FeatureStore, mask: Tensor) -> Tensor:
    """The features of passages, padded like a batch. *Shape:* `mask` (N, M); the result (N, M, D)."""
    starts = store.layout.starts
    spans = [(starts[index], starts[index + 1]) for index in indices]
    rows = torch.zeros(mask.shape, dtype=torch.long)  # row 0 on padding, where any row will do
    rows[mask] = torch.from_numpy(np.concatenate([np.arange(begin, end) for begin, end in spans]))
    return torch.nn.functional.embedding(rows, store.values)  # twice as fast as indexing
