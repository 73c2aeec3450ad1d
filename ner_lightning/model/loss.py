"""The compound loss: cross-entropy, CRF likelihood and label smoothing, each per word."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ner_lightning.errors import UserError
from ner_lightning.model.extensions import LossPart, check_names
from ner_lightning.model.partial_tags import PartialTags
from ner_lightning.system.ranges import NonNegativeFloat, Probability, check_arguments


@dataclass(frozen=True)
class Loss:
    """What each part of the loss counts; zero skips it.

    Args:
        ce: cross-entropy of each word's own softmax.
        crf: the CRF's negative log-likelihood; not used with `use_crf: false`.
        ls: label smoothing, the cross-entropy to the uniform distribution (Szegedy et al. 2016).
        parts: parts of the loss of your own, each a `LossPart` by `class_path`.
        missed: with partly annotated data, the probability that an entity was left unmarked: words whose tag
            is unknown count as outside of entities rather than in one. 1 assumes nothing of them.
    """

    ce: NonNegativeFloat = 1.0
    crf: NonNegativeFloat = 1.0
    ls: NonNegativeFloat = 0.0
    parts: list[LossPart] | None = None
    missed: Probability = 1.0

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "model.loss.")
        check_names(self.parts or ())
        if not (self.ce or self.crf or self.ls or any(part.weight for part in self.parts or ())):
            raise UserError("model.loss: all weights are zero, so there is nothing to train on")

    def counted(self, tags: Tensor, mask: Tensor, *, partial: bool, weights: Tensor | None = None) -> Tensor:
        """The number of words that the loss is the mean of: those of which something is known.

        That is all of them, unless tags are unknown and nothing is assumed of those (`missed`). A word counts
        as much as its sentence.

        Args:
            tags: gold tag ids; with `partial`, -1 where unknown. *Shape:* (B, W)
            mask: true on real words. *Shape:* (B, W)
            partial: whether some tags may be unknown.
            weights: how much each sentence counts; None counts all the same. *Shape:* (B,)
        """
        counts = mask & (tags >= 0) if partial and self.missed == 1 else mask
        return (counts if weights is None else counts * weights.unsqueeze(-1)).sum()

    def check_weighted(self) -> None:
        """Checks that every part can weigh sentences.

        Raises:
            UserError: a part of the user's own counts.
        """
        if own := [part.name for part in self.parts or () if part.weight]:
            raise UserError(
                f"data.sentence_weights: model.loss.parts ({', '.join(own)}) cannot weigh sentences;\n"
                "leave out one of the two"
            )

    def check_objective(self, use_crf: bool) -> None:
        """Checks that something is left to train on without a CRF, where `crf` counts nothing.

        Raises:
            UserError: nothing is.
        """
        own = any(part.weight for part in self.parts or ())
        if not (self.ce or self.ls or (use_crf and self.crf) or own):
            raise UserError(
                "model.loss: with model.use_crf false only ce and ls count, and both are 0.\n"
                "Set model.loss.ce above 0, or model.use_crf true."
            )


def word_losses(
    emissions: Tensor,
    tags: Tensor,
    mask: Tensor,
    partial: PartialTags | None = None,
    weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """Sums of the two softmax losses over real words.

    Args:
        emissions: *Shape:* (B, W, C)
        tags: gold tag ids. *Shape:* (B, W)
        mask: true on real words. *Shape:* (B, W)
        partial: what is known of the tags, if some are unknown: `ce` is then that to the sum of the possible
            tags, which is 0 where all are, and `ls` is summed over words of known tags.
        weights: how much each sentence counts; None counts all the same. *Shape:* (B,)

    Returns:
        `ce`, the cross-entropy to the gold tags, and `ls`, that to the uniform distribution.
    """
    log_probs = torch.log_softmax(emissions, dim=-1)  # (B, W, C)
    if partial is None:
        gold = log_probs.gather(-1, tags.unsqueeze(-1)).squeeze(-1)  # (B, W)
    else:
        gold = torch.logsumexp(log_probs + partial.words, -1)  # (B, W)
    # Multiplying rather than selecting: a selection would wait for the device to count the words.
    real = mask.to(emissions.dtype)
    smoothed = real if partial is None else partial.known.to(emissions.dtype)
    if weights is not None:
        real, smoothed = real * weights.unsqueeze(-1), smoothed * weights.unsqueeze(-1)
    return {"ce": -(gold * real).sum(), "ls": -(log_probs.mean(-1) * smoothed).sum()}
