"""The mean of the weights of several taggers that started from the same backbone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ner_lightning.errors import UserError
from ner_lightning.model.adapters import Lora, scale_of

_DOWN = {".lora_A.": ".lora_B.", ".lora_embedding_A.": ".lora_embedding_B."}  # PEFT's names of a pair
_ADAPTER = ".lora_"


class Factors(NamedTuple):
    """A matrix of low rank, `up @ down`.

    Attributes:
        down: *Shape:* (K, D), K the rank.
        up: *Shape:* (D', K).
    """

    down: Tensor
    up: Tensor


class WeightMean(NamedTuple):
    """The mean of the weights of several taggers.

    Attributes:
        state: its trained parameters, by their names in `Tagger`.
        lora: settings of its adapters, whose scale is 1; None without adapters.
        lost: by how much its adapters differ from the mean of the members', as a share of that mean's norm.
    """

    state: dict[str, Tensor]
    lora: Lora | None
    lost: float


def mean_of_weights(
    states: Sequence[Mapping[str, Tensor]], loras: Sequence[Lora | None], rank: int | None = None
) -> WeightMean:
    """The mean of all trained weights; of adapters, that of what they add to the weights they adapt.

    A member adds s·B·A to a weight, with s its scale. The mean of such products is a product again, of all
    members' factors side by side, so that its rank is the sum of theirs. The products of mean factors would
    be something else.

    Args:
        states: what each tagger's checkpoint holds, under the tagger's own names.
        loras: settings of each one's adapters, without DoRA; None without adapters.
        rank: of the resulting adapters, up to the sum of the members' ranks: the closest ones of that rank.
            None: that sum, which is exact.

    Raises:
        UserError: the taggers have not the same parameters.
    """
    _check_parameters(states)
    state = {
        name: torch.stack([one[name].float() for one in states]).mean(0).to(value.dtype)
        for name, value in states[0].items()
        if _ADAPTER not in name
    }
    first = loras[0]
    if first is None:
        return WeightMean(state, None, 0.0)
    shares = [scale_of(lora) / len(states) for lora in loras if lora is not None]
    lost = whole = 0.0
    for name in states[0]:
        up_name = _up_name(name)
        if up_name is None:
            continue
        factors = side_by_side([Factors(one[name], one[up_name]) for one in states], shares)
        if rank is not None:
            factors, values = of_rank(factors, rank)
            lost += values[rank:].square().sum().item()
            whole += values.square().sum().item()
        state[name], state[up_name] = (factor.to(states[0][name].dtype).contiguous() for factor in factors)
    chosen = rank or sum(lora.rank for lora in loras if lora is not None)
    lora = replace(first, rank=chosen, alpha=float(chosen), rslora=False)
    return WeightMean(state, lora, (lost / whole) ** 0.5 if whole else 0.0)


def side_by_side(members: Sequence[Factors], shares: Sequence[float]) -> Factors:
    """A weighted sum of products as one product, in double precision.

    Args:
        members: the products.
        shares: their weights.

    Returns:
        factors whose rank is the sum of the members'.
    """
    return Factors(
        torch.cat([member.down.double() for member in members]),
        torch.cat([share * member.up.double() for share, member in zip(shares, members, strict=True)], dim=1),
    )


def of_rank(factors: Factors, rank: int) -> tuple[Factors, Tensor]:
    """The closest product of a rank in the Frobenius norm (Eckart & Young 1936).

    The product itself is never made: its singular values are those of a matrix of the size of its rank.

    Args:
        factors: of the product.
        rank: of the result; where the product's is lower, the rest is zeros.

    Returns:
        its factors, and all singular values of the product, in descending order.
    """
    left, upper = torch.linalg.qr(factors.up)
    right, lower = torch.linalg.qr(factors.down.T)
    u, values, v = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    kept = min(rank, len(values))
    roots = values[:kept].sqrt()
    down = factors.down.new_zeros(rank, factors.down.shape[1])
    up = factors.up.new_zeros(factors.up.shape[0], rank)
    down[:kept] = roots.unsqueeze(1) * (v[:kept] @ right.T)
    up[:, :kept] = left @ u[:, :kept] * roots
    return Factors(down, up), values


def _up_name(name: str) -> str | None:
    """The name of the second factor, for that of a first one."""
    return next((name.replace(down, up) for down, up in _DOWN.items() if down in name), None)


def _check_parameters(states: Sequence[Mapping[str, Tensor]]) -> None:
    """Checks that all have the same parameters, of the same shapes but for the rank of adapters."""
    pairs = {up for name in states[0] if (up := _up_name(name))} | {n for n in states[0] if _up_name(n)}
    other = next((name for name in states[0] if _ADAPTER in name and name not in pairs), None)
    if other is not None:
        raise UserError(f"there is no mean of adapters with {other}; leave out --soup")
    for state in states[1:]:
        if different := sorted(state.keys() ^ states[0].keys()):
            raise UserError(
                f"the taggers have not the same parameters (such as {different[0]}), "
                "so there is no mean of their weights"
            )
        for name, value in states[0].items():
            if _ADAPTER not in name and value.shape != state[name].shape:
                raise UserError(
                    f"{name} has the shapes {tuple(value.shape)} and {tuple(state[name].shape)}, "
                    "so there is no mean of the taggers' weights"
                )
