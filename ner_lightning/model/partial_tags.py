"""Partly annotated sentences: what their tags say of each word, as evidence for the losses."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ner_lightning.data.schemes import UNKNOWN_ID


class PartialTags(NamedTuple):
    """What is known of the tags of a batch.

    Attributes:
        known: words whose tag is known. *Shape:* (B, W)
        ids: tag ids, 0 where unknown. *Shape:* (B, W)
        words: log-weight of each tag at each word, for a softmax; 0 on padding. *Shape:* (B, W, C)
        paths: the same for tag paths, where an entity counts once, at its first word. *Shape:* (B, W, C)
    """

    known: Tensor
    ids: Tensor
    words: Tensor
    paths: Tensor

    @classmethod
    def of(
        cls, tags: Tensor, mask: Tensor, num_tags: int, *, missed: float = 1.0, constrained: bool = True
    ) -> "PartialTags":
        """Reads tags of which some are unknown. Nothing here synchronizes.

        A known tag leaves no other. An unknown one leaves all, but the I- that would continue a known entity
        before it: annotators mark whole entities, so it has ended.

        Args:
            tags: tag ids, -1 where unknown, -2 in text that nobody annotated; they are numbered as in
                `LabelSet`. *Shape:* (B, W)
            mask: True on words. *Shape:* (B, W)
            num_tags: number of tags, C.
            missed: the probability that an entity of annotated text is left unmarked; see `Loss`.
            constrained: whether an entity can only begin at B-.
        """
        known = mask & (tags >= 0)  # (B, W)
        ids = tags.clamp(min=0)  # (B, W)
        all_tags = torch.arange(num_tags, device=tags.device)  # (C,)
        before = F.pad(ids, (1, 0))[:, :-1]  # of the word before
        continues = (before + before % 2).unsqueeze(-1)  # I- of the entity before; 0 for none. (B, W, 1)
        possible = (all_tags == 0) | (all_tags != continues)  # (B, W, C)
        possible = torch.where(known.unsqueeze(-1), all_tags == ids.unsqueeze(-1), possible)
        possible |= ~mask.unsqueeze(-1)
        unknown = (mask & (tags == UNKNOWN_ID)).unsqueeze(-1)  # in annotated text. (B, W, 1)
        zeros = torch.zeros(possible.shape, device=tags.device)  # (B, W, C)
        inside = all_tags > 0
        first = inside & (all_tags % 2 == 1) if constrained else inside  # (C,)
        words, paths = (
            zeros.masked_fill(unknown & tag, math.log(missed)).masked_fill(~possible, -math.inf)
            for tag in (inside, first)
        )
        return cls(known, ids, words, paths)
