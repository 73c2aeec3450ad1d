"""Word vectors: each word's sub-tokens become one vector, and the windows of a long sentence are stitched."""

from torch import Tensor

from ner_lightning.data.batching import Batch
from ner_lightning.model.tagger_settings import Pooling


def pool(hidden: Tensor, batch: Batch, pooling: Pooling) -> Tensor:
    """One vector for each word.

    Args:
        hidden: a vector for each sub-token. *Shape:* (R, T, D)
        batch: whose words.
        pooling: which sub-tokens represent a word.

    Returns:
        *Shape:* (B, W, D)
    """
    flat = hidden.flatten(0, 1)  # (R T, D)
    if pooling == "first":
        return flat[batch.first]
    if pooling == "last":
        return flat[batch.last]
    return _means(flat.float(), batch)


def _means(flat: Tensor, batch: Batch) -> Tensor:
    """Each word's mean over its sub-tokens, which no other word shares; without waiting for the device.

    A difference of running sums would lose digits with each sub-token of a long row.

    Args:
        flat: hidden states in fp32. *Shape:* (R T, D)
        batch: whose words.

    Returns:
        *Shape:* (B, W, D)
    """
    real = batch.mask.flatten().long()
    number = real.cumsum(0) * real  # (B W,): words are numbered from 1, in the order of the rows
    starts, ends = (real.new_zeros(len(flat) + 1) for _ in range(2))
    starts = starts.index_add_(0, batch.first.flatten(), real).cumsum(0)
    ends = ends.index_add_(0, batch.last.flatten() + 1, real).cumsum(0)
    owner = (starts * (starts > ends))[:-1]  # (R T,): the word of each sub-token, 0 if it belongs to no word
    sums = flat.new_zeros(len(number) + 1, flat.shape[1]).index_add(0, owner, flat)
    return sums[number].view(*batch.mask.shape, -1) / (batch.last - batch.first + 1).unsqueeze(-1)
