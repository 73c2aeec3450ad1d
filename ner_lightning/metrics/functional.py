"""Entity counts as conlleval defines them: correct, predicted and gold entities of each type."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ner_lightning.metrics.from_counts import f1, precision_recall

COUNTED = ("correct", "predicted", "gold")


class Scores(NamedTuple):
    """Precision, recall and F1, each between 0 and 1; 0 where there is nothing to divide by."""

    precision: float
    recall: float
    f1: float


def entity_counts(predicted: Tensor, gold: Tensor, mask: Tensor, types: int) -> Tensor:
    """Counts the entities of each sentence as the conlleval script of the CoNLL-2000 shared task does.

    An entity begins at B-, and at an I- whose type is not that of the word before; so any sequence of
    tags can be read, legal or not. It is correct if type, first and last word are.

    Args:
        predicted: tag ids laid out as in `LabelSet`. *Shape:* (B, W)
        gold: likewise. *Shape:* (B, W)
        mask: true on real words, a prefix of each row. *Shape:* (B, W)
        types: the number of entity types.

    Returns:
        correct, predicted and gold entities of each type. *Shape:* (B, types, 3)

    Raises:
        ValueError: shapes differ, tags are no ids of these types (looked at on a CPU only), or the mask is
            not bool.
    """
    shape = tuple(mask.shape)
    if mask.dtype != torch.bool or len(shape) != 2:
        raise ValueError(f"expected mask to be torch.bool (B, W), got {mask.dtype} {shape}")
    for name, tags in (("predicted", predicted), ("gold", gold)):
        if tags.shape != mask.shape or tags.is_floating_point() or tags.dtype == torch.bool:
            got = f"{tags.dtype} {tuple(tags.shape)}"
            raise ValueError(f"expected {name} to be tag ids {shape}, got {got}")
        if tags.device.type == "cpu" and (used := tags[mask]).numel():  # others would have to be waited for
            low, high = int(used.min()), int(used.max())
            if low < 0 or high > 2 * types:
                raise ValueError(f"expected {name} to be 0 to {2 * types}, got {low} to {high}")
    p_start, p_end, p_type = _chunks(predicted, mask)
    g_start, g_end, g_type = _chunks(gold, mask)
    correct = p_start & g_start & (p_type == g_type) & (p_end == g_end)
    counted = zip((correct, p_start, g_start), (g_type, p_type, g_type), strict=True)
    # A scatter with a spare last row instead of bincount over a selection: no wait for the device.
    columns = []
    for hit, kind in counted:
        place = torch.where(hit, kind, types)  # (B, W)
        column = torch.zeros(len(place), types + 1, dtype=torch.long, device=place.device)
        columns.append(column.scatter_add_(1, place, torch.ones_like(place))[:, :types])
    return torch.stack(columns, dim=-1)


def _chunks(tags: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where entities start, where each that starts here ends, and of what type it is; (B, W) each."""
    tags = torch.where(mask, tags, 0)  # padding reads as O
    kind = (tags - 1) // 2  # O is -1
    inside = tags > 0
    before = torch.nn.functional.pad(kind, (1, 0), value=-1)[:, :-1]  # type of the word before
    start = inside & ((tags % 2 == 1) | (kind != before))
    # An entity ends before the next word that starts one or is outside.
    stop = start | ~inside
    width = tags.shape[1]
    place = torch.arange(width, device=tags.device).expand_as(tags)
    stops = torch.where(stop, place, width)
    following = stops.flip(1).cummin(1).values.flip(1)  # first stop at or after each place
    end = torch.nn.functional.pad(following[:, 1:], (0, 1), value=width)
    return start, end, kind


def scores(counts: Tensor) -> Scores:
    """Precision, recall and F1 from three counts: correct, predicted and gold."""
    held = np.array(counts.tolist())
    return Scores(*map(float, (*precision_recall(held), f1(held))))
