"""Parameter groups and learning-rate schedules."""

import math
from collections.abc import Callable
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
    parts: list[tuple[str, nn.Module | None, float]] = [
        ("backbone", tagger.backbone, lr),
        ("head", tagger.head, head_lr),
        ("crf", tagger.crf, crf_lr),
    ]
    groups: list[dict[str, object]] = []
    for name, module, rate in parts:
        trained = [p for p in module.parameters() if p.requires_grad] if module else []
        matrices = [p for p in trained if p.dim() > 1 and name != "crf"]
        vectors = [p for p in trained if p.dim() <= 1 or name == "crf"]
        if matrices:
            groups.append({"params": matrices, "lr": rate, "weight_decay": weight_decay, "name": name})
        if vectors:
            label = f"{name}_no_decay" if matrices else name
            groups.append({"params": vectors, "lr": rate, "weight_decay": 0.0, "name": label})
    return groups


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
