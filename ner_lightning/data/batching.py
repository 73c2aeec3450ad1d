"""Batch, and its collation: padded rows, or one packed row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ner_lightning.data.encoding import Encoded
from ner_lightning.data.states import States


@dataclass(slots=True)
class Batch:
    """Sentences as tensors. R rows of T sub-tokens (a long sentence has several), B sentences of W words.

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


def collate(
    sentences: Sequence[Encoded], pad_id: int, states: States | None = None, *, packed: bool = False
) -> Batch:
    """Pads encoded sentences into one batch, in the order given.

    Args:
        sentences: at least one.
        pad_id: the sub-token on padding.
        states: what is kept of their split.
        packed: put all windows into one row, one after the other, instead of padding them.
    """
    rows = [ids for sentence in sentences for ids in sentence.windows]
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
    words = max(len(sentence.first) for sentence in sentences)
    first, last, tags = (np.zeros((len(sentences), words), dtype=np.int64) for _ in range(3))
    mask = np.zeros((len(sentences), words), dtype=bool)
    row = 0
    for number, sentence in enumerate(sentences):
        count = len(sentence.first)
        base = begins[row + sentence.window]
        first[number, :count] = base + sentence.first
        last[number, :count] = base + sentence.last
        mask[number, :count] = True
        if sentence.tags is not None:
            tags[number, :count] = sentence.tags
        row += len(sentence.windows)
    tagged = all(sentence.tags is not None for sentence in sentences)
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        attention_mask=torch.from_numpy(attention),
        first=torch.from_numpy(first),
        last=torch.from_numpy(last),
        mask=torch.from_numpy(mask),
        tags=torch.from_numpy(tags) if tagged else None,
        index=torch.tensor([sentence.index for sentence in sentences]),
        positions=torch.from_numpy(positions[None]) if packed else None,
        padded=not attention.all(),
        states=None if states is None else _kept(sentences, states, (mask if states.words else attention)),
    )


def _kept(sentences: Sequence[Encoded], states: States, real: NDArray[np.bool_]) -> Tensor:
    """The rows of sentences in a cache, padded like a batch. *Shape:* `real` (N, M); (N, M, D)."""
    spans = [(states.starts[s.index], states.starts[s.index + 1]) for s in sentences]
    rows = np.zeros(real.shape, dtype=np.int64)  # row 0 on padding, where anything will do
    rows[real] = np.concatenate([np.arange(begin, end) for begin, end in spans])
    return states.values[torch.from_numpy(rows)]


class EncodedDataset(Dataset[Batch]):
    """Encoded sentences; indexed with a list of positions it returns their batch.

    Args:
        sentences: of a split, in its order.
        pad_id: the sub-token on padding.
        states: what is kept of the split.
        packed: as at `collate`.
    """

    def __init__(
        self,
        sentences: Sequence[Encoded],
        pad_id: int,
        states: States | None = None,
        *,
        packed: bool = False,
    ) -> None:
        self.sentences = sentences
        self.pad_id = pad_id
        self.states = states
        self.packed = packed

    def __len__(self) -> int:
        return len(self.sentences)

    def __getitem__(self, places: list[int]) -> Batch:
        chosen = [self.sentences[place] for place in places]
        return collate(chosen, self.pad_id, self.states, packed=self.packed)
