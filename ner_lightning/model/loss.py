"""The compound loss: cross-entropy, CRF likelihood, label smoothing and a teacher's divergence, per word."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ner_lightning.errors import UserError
from ner_lightning.model.extensions import LossPart, check_names, loss_parts
from ner_lightning.model.partial_tags import PartialTags
from ner_lightning.system.plain_settings import build, known_settings
from ner_lightning.system.ranges import NonNegativeFloat, Probability, check_arguments


@dataclass(frozen=True)
class Loss:
    """What each part of the loss counts; zero skips it.

    Args:
        ce: cross-entropy of each word's own softmax.
        crf: the CRF's negative log-likelihood; not used with `use_crf: false`.
        ls: label smoothing, the cross-entropy to the uniform distribution (Szegedy et al. 2016).
        kl: with a teacher (`ner-lightning distill`), the divergence from its distribution over tag sequences.
        parts: parts of the loss of your own, each a `LossPart` by `class_path`.
        missed: with partly annotated data, the probability that an entity was left unmarked: words whose tag
            is unknown count as outside of entities rather than in one. 1 assumes nothing of them.
    """

    ce: NonNegativeFloat = 1.0
    crf: NonNegativeFloat = 1.0
    ls: NonNegativeFloat = 0.0
    kl: NonNegativeFloat = 0.0
    parts: list[LossPart] | None = None
    missed: Probability = 1.0

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self), "model.loss.")
        check_names(self.parts or (), [one.name for one in fields(self)])

    @classmethod
    def of(cls, value: "Loss | Mapping[str, Any]", use_crf: bool, *, trust: bool = False) -> "Loss":
        """A loss to train with, given as one or as the plain values of a checkpoint.

        Args:
            value: it.
            use_crf: whether there is a CRF.
            trust: import the classes that it names as parts.

        Raises:
            UserError: it is neither, a name in it is no setting, there is such a class and it is not trusted,
                a setting is out of its range, or there is nothing to train on.
        """
        if not isinstance(value, Loss):
            value = known_settings(cls, value)
            value = build(cls, {**value, "parts": loss_parts(value.get("parts"), trust=trust)})
        value.check_objective(use_crf)
        return value

    @property
    def own(self) -> list[LossPart]:
        """The parts of a project's own that count."""
        return [part for part in self.parts or () if part.weight]

    def counted(
        self,
        tags: Tensor,
        mask: Tensor,
        *,
        partial: bool,
        weights: Tensor | None = None,
        taught: bool = False,
    ) -> Tensor:
        """The number of words that the loss is the mean of: those of which something is known.

        That is all of them, unless tags are unknown, nothing is assumed of those (`missed`), and no teacher
        tells them. A word counts as much as its sentence.

        Args:
            tags: gold tag ids; with `partial`, -1 where unknown. *Shape:* (B, W)
            mask: true on real words. *Shape:* (B, W)
            partial: whether some tags may be unknown.
            weights: how much each sentence counts; None counts all the same. *Shape:* (B,)
            taught: whether a teacher tells the tags of all words.
        """
        counts = mask & (tags >= 0) if partial and self.missed == 1 and not taught else mask
        return (counts if weights is None else counts * weights.unsqueeze(-1)).sum()

    def total(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of parts that were computed."""
        weights = vars(self) | {own.name: own.weight for own in self.own}
        return torch.stack([weights[name] * part for name, part in parts.items()]).sum()

    def check_data(self, weights: object, teacher: object, *, use_crf: bool) -> None:
        """Checks that the loss fits the training data.

        Args:
            weights: of sentences; None if all count the same.
            teacher: what a teacher says of them; None without one.
            use_crf: whether there is a CRF.

        Raises:
            UserError: nothing would be learned from the teacher, nothing would train the CRF, or a part of
                the user's own cannot weigh sentences.
        """
        if teacher is not None and not self.kl:
            raise UserError(
                "data.supervision.teacher is set, but model.loss.kl is 0: nothing is learned from it;\n"
                "set --model.loss.kl 1, or leave out data.supervision.teacher"
            )
        others = self.ce or self.own
        likelihood = use_crf and self.crf
        if self.kl and teacher is None and not likelihood and (use_crf or not others):
            what = "nothing trains the CRF" if others else "nothing is learned from the tags"
            raise UserError(
                f"model.loss: without kl, which needs a teacher, {what};\n"
                f"run `ner-lightning distill`, or set model.loss.{'crf' if use_crf else 'ce'} above 0"
            )
        if weights is not None and self.own:
            own = ", ".join(part.name for part in self.own)
            raise UserError(
                f"data.supervision weighs sentences, which model.loss.parts ({own}) cannot;\n"
                "leave out sentence_weights and text_weight, or that part"
            )

    def on_gold(self, use_crf: bool) -> "Loss":
        """The loss of gold tags alone: the same, or the likelihood where only a teacher is learned from."""
        if self.ce or self.own or (use_crf and self.crf):
            return self
        return replace(self, crf=1.0) if use_crf else replace(self, ce=1.0)

    def check_objective(self, use_crf: bool) -> None:
        """Checks that something is learned from the tags; without a CRF, `crf` counts nothing.

        Label smoothing knows no tags.

        Raises:
            UserError: nothing is.
        """
        if self.ce or self.kl or self.own or (use_crf and self.crf):
            return
        if not (self.ls or self.crf):
            raise UserError("model.loss: all weights are zero, so there is nothing to train on")
        which = "ls counts, which knows no tags" if self.ls else "crf counts, which needs model.use_crf true"
        remedy = "or crf above 0" if use_crf else "above 0, or model.use_crf true"
        raise UserError(
            f"model.loss: only {which}, so that nothing would be learned.\nSet model.loss.ce {remedy}."
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
