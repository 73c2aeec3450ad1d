"""Ensemble: several taggers as one, whose scores are the mean of theirs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch
from ner_lightning.model.settings import Architecture
from ner_lightning.model.tagger import Tagger


class Ensemble(Tagger):
    """Taggers whose emissions are averaged, under one CRF.

    A CRF's score of a tag sequence is a sum of emissions and transitions, so the mean of several CRFs' scores
    is the score of one CRF with their mean emissions and their mean transitions. All of decoding,
    probabilities and calibration therefore works on an ensemble as on one tagger; its distribution is
    the normalised geometric mean of its members' (a product of experts, Hinton 2002).

    Args:
        members: the taggers, without CRFs of their own.
        architecture: CRF, constraints and loss weights are taken from it.
    """

    def __init__(self, members: Sequence[Tagger], architecture: Architecture) -> None:
        super().__init__(nn.Identity(), members[0].labels, architecture, hidden_size=1)
        del self.head
        self.members = nn.ModuleList(members)

    def forward(self, batch: Batch) -> Tensor:
        """The members' mean scores of each tag for each word. *Shape:* (B, W, C)."""
        return torch.stack([member(batch) for member in self.members]).mean(0)

    def merge(self) -> None:
        """Folds each member's adapters into its backbone."""
        for member in self.members:
            member.merge()  # type: ignore[operator]


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """An ensemble's parameters, from those of its members.

    Args:
        states: what each tagger's checkpoint holds, under the tagger's own names.

    Returns:
        each member's parameters under the ensemble's names, and the mean of the CRFs.
    """
    found = {
        f"members.{number}.{name}": value
        for number, state in enumerate(states)
        for name, value in state.items()
        if not name.startswith("crf.")
    }
    crf = [name for name in states[0] if name.startswith("crf.")]
    return found | {name: torch.stack([state[name] for state in states]).mean(0) for name in crf}
