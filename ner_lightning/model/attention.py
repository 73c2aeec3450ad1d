"""Proof that a backbone attends in the direction that was asked for."""

from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.errors import UserError
from ner_lightning.model.backbone import Attention


def verify_attention(model: nn.Module, attention: Attention, vocabulary: int, causal_below: int = 0) -> None:
    """Proves the direction of attention on the model itself.

    A sentence's last token is changed, alone and in a padded batch; its first hidden state must
    change if attention is bidirectional and must not if it is causal. Library versions, attention
    kernels and sliding windows can each turn the setting into a silent no-op.

    Args:
        model: the backbone as it will be trained.
        attention: the direction asked for.
        vocabulary: number of token ids.
        causal_below: number of layers at the bottom that must be causal in any case.

    Raises:
        UserError: the model does otherwise.
    """
    device = next(model.parameters()).device
    ids = torch.arange(12, device=device).reshape(2, 6) % max(vocabulary - 1, 1)
    changed = ids.clone()
    changed[:, 4:] += 1
    mask = torch.ones_like(ids)
    mask[1, 5] = 0  # the second row ends in padding
    was_training = model.training
    model.eval()
    with torch.no_grad():
        alone = _reach(model, ids[:1], changed[:1], mask[:1])
        padded = _reach(model, ids, changed, mask)
        below = _reach(model, ids, changed, mask, causal_below) if causal_below else None
    model.train(was_training)
    seen = [*alone.tolist(), *padded.tolist()]
    if below is not None and below.any():
        raise UserError(f"model.causal_below is {causal_below}, but these layers are not all causal")
    if seen != [attention == "bidirectional"] * len(seen):
        found = "bidirectional" if all(seen) else "causal" if not any(seen) else "mixed"
        raise UserError(
            f"model.attention is {attention}, but the loaded backbone's attention is {found}.\n"
            "Use --model.attn_implementation eager, or set model.attention to what it can do."
        )


def _reach(model: nn.Module, ids: Tensor, changed: Tensor, mask: Tensor, depth: int | None = None) -> Tensor:
    """Whether the first hidden state of each row depends on its last token. *Shape:* (R,).

    Args:
        model: the backbone.
        ids: sub-tokens. *Shape:* (R, T)
        changed: the same with other last tokens.
        mask: of real sub-tokens.
        depth: after this many layers; None after all.
    """
    one, other = (_first_states(model, tokens, mask, depth) for tokens in (ids, changed))
    moved: Tensor = (one - other).abs().amax(-1) > 1e-6 * one.abs().amax(-1)
    return moved


def _first_states(model: nn.Module, ids: Tensor, mask: Tensor, depth: int | None) -> Tensor:
    more = {} if depth is None else {"output_hidden_states": True}
    output: Any = model(input_ids=ids, attention_mask=mask, **more)
    states: Tensor = output.last_hidden_state if depth is None else output.hidden_states[depth]
    return states[:, 0].float()
