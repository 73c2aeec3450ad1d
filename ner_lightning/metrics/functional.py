"""Entity counts as conlleval defines them: correct, predicted and gold entities of each type."""

import torch
from torch import Tensor


def entity_counts(predicted: Tensor, gold: Tensor, mask: Tensor, types: int) -> Tensor:
    """Counts the entities of each sentence as the conlleval script of the CoNLL-2000 shared task does.

    An entity begins at B-, and at an I- whose type is not that of the word before; so any sequence of
    tags is valid, legal or not. An entity is correct if its type, first word and last word are.

    Args:
        predicted: tag ids of any integer type, numbered as in `LabelSet`; any value on padding.
            *Shape:* (B, W)
        gold: likewise. *Shape:* (B, W)
        mask: True on words, a prefix of each row. *Shape:* (B, W)
        types: number of entity types.

    Returns:
        Correct, predicted and gold entities of each type, int64. *Shape:* (B, types, 3)

    Raises:
        ValueError: shapes differ, or the mask is not bool; on a CPU also: it is no prefix, or a tag id is out
            of range.

    Example:
        >>> tags = torch.tensor([[1, 2, 0]])  # B-PER I-PER O
        >>> entity_counts(tags, tags, torch.ones(1, 3, dtype=torch.bool), types=1).tolist()
        [[[1, 1, 1]]]
    """
    _check(predicted, gold, mask, types)
    p_start, p_end, p_type = _entities(predicted.long(), mask)
    g_start, g_end, g_type = _entities(gold.long(), mask)
    correct = p_start & g_start & (p_type == g_type) & (p_end == g_end)  # (B, W)
    columns = []
    for counted, type_ in ((correct, g_type), (p_start, p_type), (g_start, g_type)):
        # A scatter with a spare last bin instead of bincount over a selection, which would synchronize.
        index = torch.where(counted, type_, types)  # (B, W)
        column = torch.zeros(len(index), types + 1, dtype=torch.long, device=index.device)
        columns.append(column.scatter_add_(1, index, torch.ones_like(index))[:, :types])
    return torch.stack(columns, dim=-1)


def _check(predicted: Tensor, gold: Tensor, mask: Tensor, types: int) -> None:
    shape = tuple(mask.shape)
    if mask.dtype != torch.bool or len(shape) != 2:
        raise ValueError(f"expected mask to be torch.bool (B, W), got {mask.dtype} {shape}")
    if mask.device.type == "cpu" and (mask[:, 1:] > mask[:, :-1]).any():  # elsewhere this would synchronize
        raise ValueError(
            "expected each row of mask to be True on words, then only False; "
            "leave out sub-tokens that are not scored"
        )
    for name, tags in (("predicted", predicted), ("gold", gold)):
        if tags.shape != mask.shape or tags.is_floating_point() or tags.dtype == torch.bool:
            got = f"{tags.dtype} {tuple(tags.shape)}"
            raise ValueError(f"expected {name} to be tag ids {shape}, got {got}")
        if tags.device.type == "cpu" and (used := tags[mask]).numel():  # as above
            low, high = int(used.min()), int(used.max())
            if low < 0 or high > 2 * types:
                raise ValueError(f"expected {name} to be 0 to {2 * types}, got {low} to {high}")


def _entities(tags: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether an entity starts at each word, where it ends (exclusive), and its type. *Shape:* (B, W)."""
    tags = torch.where(mask, tags, 0)  # padding is O
    type_ = (tags - 1) // 2  # of O, -1
    inside = tags > 0
    before = torch.nn.functional.pad(type_, (1, 0), value=-1)[:, :-1]  # type of the word before
    start = inside & ((tags % 2 == 1) | (type_ != before))
    # An entity ends at the next word that starts one or is outside.
    width = tags.shape[1]
    words = torch.arange(width, device=tags.device).expand_as(tags)
    stops = torch.where(start | ~inside, words, width)
    next_stop = stops.flip(1).cummin(1).values.flip(1)  # at or after each word
    return start, torch.nn.functional.pad(next_stop[:, 1:], (0, 1), value=width), type_
