"""Parameter groups and learning-rate schedules."""

import math
from collections.abc import Callable, Iterable
from typing import Literal

from torch import nn

from ner_lightning.model.tagger import Tagger

Schedule = Literal["linear", "cosine", "constant"]


def parameter_groups(
    tagger: Tagger, *, lr: float, head_lr: float, crf_lr: float, weight_decay: float
) -> list[dict[str, object]]:
    """AdamW's groups: backbone or adapters, head, and CRF, each with its own rate.

    Biases, norms and the CRF's scores are not decayed. Groups that would be empty are left out.

    Args:
        tagger: whose trained parameters are grouped.
        lr: for the backbone's own weights and for adapters.
        head_lr: for the linear layer to the tags.
        crf_lr: for the CRF's transitions.
        weight_decay: for matrices.
    """
    groups = decayed("backbone", tagger.backbone.parameters(), lr, weight_decay)
    groups += decayed("head", tagger.head.parameters(), head_lr, weight_decay)
    scores = [p for p in tagger.crf.parameters() if p.requires_grad] if tagger.crf is not None else []
    if scores:
        groups.append({"params": scores, "lr": crf_lr, "weight_decay": 0.0, "name": "crf"})
    return groups


def decayed(
    name: str, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
) -> list[dict[str, object]]:
    """The trained ones of some parameters as one or two groups: matrices decay, vectors do not."""
    trained = [p for p in parameters if p.requires_grad]
    matrices, vectors = ([p for p in trained if (p.dim() > 1) == tall] for tall in (True, False))
    label = f"{name}_no_decay" if matrices else name
    groups = [(matrices, weight_decay, name), (vectors, 0.0, label)]
    return [
        {"params": params, "lr": lr, "weight_decay": decay, "name": called}
        for params, decay, called in groups
        if params
    ]


def schedule(kind: Schedule, steps: int, warmup: float) -> Callable[[int], float]:
    """The factor on every learning rate at each step.

    Args:
        kind: how it falls from 1 to 0 after warm-up; `constant` does not fall.
        steps: optimizer steps of the whole run.
        warmup: share of them in which it rises from 0 to 1.
    """
    rise = round(steps * warmup)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        done = min(1.0, (step - rise) / max(1, steps - rise))
        if kind == "linear":
            return 1.0 - done
        if kind == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        return 1.0

    return factor
