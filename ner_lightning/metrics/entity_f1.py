"""EntityF1: entity-level scores as a torchmetrics Metric, summed over ranks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torchmetrics import Metric

from ner_lightning.metrics.float64 import has_float64
from ner_lightning.metrics.from_counts import COUNTED, Scores, scores
from ner_lightning.metrics.functional import entity_counts


class EntityF1(Metric):
    """Entity counts and word accuracy over a whole split, exact on any number of ranks.

    The loss is summed in float64, on the CPU where the device has none (Apple's GPUs).

    Args:
        types: the entity types, in the label set's order.

    Example:
        >>> metric = EntityF1(["PER", "LOC"])
        >>> gold, predicted = torch.tensor([[1, 2, 0, 3]]), torch.tensor([[1, 2, 0, 1]])
        >>> metric.update(predicted, gold, mask=torch.ones(1, 4, dtype=torch.bool))
        >>> metric.compute()["f1"]
        0.5
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    counts: Tensor
    words: Tensor
    loss: Tensor
    losses: Tensor  # how many were added

    def __init__(self, types: Sequence[str]) -> None:
        super().__init__()
        if isinstance(types, str):  # whose letters would pass for types
            raise TypeError(f"types is the text {types!r}; give a sequence of entity types")
        self.types = list(types)
        self._by_type: dict[str, dict[str, float]] = {}
        zeros = torch.zeros(len(self.types), 3, dtype=torch.long)
        self.add_state("counts", zeros, dist_reduce_fx="sum")
        self.add_state("words", torch.zeros(2, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("loss", torch.zeros((), dtype=torch.double), dist_reduce_fx="sum")
        self.add_state("losses", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, gold: Tensor, mask: Tensor) -> None:
        """Adds a batch of tag ids, numbered as in `LabelSet`; see `entity_counts`. *Shape:* (B, W) each."""
        self.counts += entity_counts(predicted, gold, mask, len(self.types)).sum(0)
        correct = (predicted == gold) & mask
        self.words += torch.stack([correct.sum(), mask.sum()])

    def add_loss(self, total: Tensor) -> None:
        """Adds a batch's loss, summed over its words."""
        self.loss += total.detach().to(self.loss.device)
        self.losses += 1

    def _apply(self, fn: Callable[..., Any], exclude_state: Sequence[str] = "") -> Module:
        """Moves the counts with the module, and the loss too if the device has float64."""
        super()._apply(fn, exclude_state=[*exclude_state, "loss"])
        device = self.counts.device
        self.loss = self.loss.to(device if has_float64(device) else "cpu")
        return self

    def compute(self) -> dict[str, float]:
        """Scores from 0 to 1, and the mean loss per word.

        Returns:
            `accuracy` per word, and `loss` per word if one was added on any rank; micro `precision`, `recall`
            and `f1`; the same of each type as `precision/TYPE`, `recall/TYPE` and `f1/TYPE`.
        """
        counts = self.counts.cpu().numpy()  # (types, 3)
        correct, total = self.words.tolist()
        # Stored, because only inside `compute` the counts are those of all ranks.
        self._by_type = {
            name: scores(row)._asdict() | dict(zip(COUNTED, row.tolist(), strict=True))
            for name, row in zip(self.types, counts, strict=True)
        }
        loss = {"loss": float(self.loss) / total if total else 0.0}
        return {
            **(loss if self.losses else {}),
            "accuracy": correct / total if total else 0.0,
            **scores(counts.sum(0))._asdict(),
            **{f"{key}/{name}": row[key] for key in Scores._fields for name, row in self._by_type.items()},
        }

    def by_type(self) -> dict[str, dict[str, float]]:
        """Counts and scores of each type over all ranks, from the last `compute`."""
        return self._by_type
