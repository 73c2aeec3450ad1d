"""The gradient of sums over tag paths: a difference of expected counts, known along with the value."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class PathScores(NamedTuple):
    """What a CRF scores paths by.

    Attributes:
        emissions: score of each tag at each word. *Shape:* (B, W, C)
        start: of each tag at the first word. *Shape:* (C,)
        transitions: from (row) to (column). *Shape:* (C, C)
        end: of each tag at the last word. *Shape:* (C,)
    """

    emissions: Tensor
    start: Tensor
    transitions: Tensor
    end: Tensor

    def need_gradient(self) -> bool:
        """Whether autograd asks for the gradient of any of them."""
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self)


class _KnownGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        emissions: Tensor,
        start: Tensor,
        transitions: Tensor,
        end: Tensor,
        value: Tensor,
        known: tuple[Tensor, Tensor, Tensor],
    ) -> Tensor:
        ctx.save_for_backward(*known)
        return value.to(emissions.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # `once_differentiable` lets second derivatives be zero in some cases
            raise RuntimeError(
                "the CRF's gradient is in closed form and can be taken once: no create_graph=True, "
                "and so no Hessian or gradient penalty.\n"
                "For these use a softmax (use_crf false), or pytorch-crf (`to_pytorch_crf`)"
            )
        d_tags, d_transitions, left_out = ctx.saved_tensors  # (B, W, C), (B, K, K), (B,)
        grad = grad.masked_fill(left_out, 0)  # (B,)
        d_emissions = d_tags * grad.view(-1, 1, 1) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:4]):
            return d_emissions, None, None, None, None, None
        d_matrix = grad.to(d_transitions.dtype) @ d_transitions.flatten(1)  # (K * K,)
        d_matrix = d_matrix.view(d_transitions.shape[1:]).to(grad.dtype)  # (K, K)
        return d_emissions, d_matrix[-1, :-1], d_matrix[:-1, :-1], d_matrix[:-1, -1], None, None


def with_gradient(
    scores: PathScores, value: Tensor, d_tags: Tensor, d_transitions: Tensor, left_out: Tensor
) -> Tensor:
    """Gives a value of each sentence the gradient that it is known to have; differentiable once.

    Asking for a graph of the gradient (`create_graph`), as a Hessian or a gradient penalty does, raises
    RuntimeError, since it would lack all that the gradient depends on.

    Args:
        scores: what it is a function of.
        value: computed from them without autograd. *Shape:* (B,)
        d_tags: its derivative by the emissions. *Shape:* (B, W, C)
        d_transitions: its derivative by the transitions, OUTSIDE being the last tag. *Shape:* (B, K, K)
        left_out: sentences that add nothing to any gradient. *Shape:* (B,)

    Returns:
        the value, in the precision of the emissions. *Shape:* (B,)
    """
    result: Tensor = _KnownGradient.apply(  # type: ignore[no-untyped-call]
        *scores, value, (d_tags, d_transitions, left_out)
    )
    return result
