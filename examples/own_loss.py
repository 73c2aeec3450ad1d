"""A focal loss (Lin et al. 2017): words that are easy already count less."""

import torch
from torch import Tensor

from ner_lightning import LossPart


class Focal(LossPart):
    """Cross-entropy of each word, scaled by (1 - probability of the gold tag) ** gamma.

    Args:
        weight: what it counts in the sum of all parts.
        gamma: how much less easy words count; 0 is plain cross-entropy.
    """

    def __init__(self, weight: float = 1.0, gamma: float = 2.0) -> None:
        self.weight = weight
        self.gamma = gamma

    def __call__(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """The sum over real words."""
        log_probs = torch.log_softmax(emissions, dim=-1)  # (B, W, C)
        gold = log_probs.gather(-1, tags.unsqueeze(-1)).squeeze(-1)  # (B, W)
        easy = (1 - gold.exp()).clamp(min=0) ** self.gamma
        return -(easy * gold * mask).sum()
