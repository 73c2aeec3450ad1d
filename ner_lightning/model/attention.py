"""Proof that a backbone attends in the direction that was asked for."""

import torch
from torch import Tensor, nn

from ner_lightning.errors import UserError
from ner_lightning.model.backbone import Attention


def verify_attention(model: nn.Module, attention: Attention, vocabulary: int) -> None:
    """Proves the direction of attention on the model itself.

    A sentence's last token is changed, alone and in a padded batch; its first hidden state must
    change if attention is bidirectional and must not if it is causal. Library versions, attention
    kernels and sliding windows can each turn the setting into a silent no-op.

    Args:
        model: the backbone as it will be trained.
        attention: the direction asked for.
        vocabulary: number of token ids.

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
    model.train(was_training)
    seen = [bool(reach) for reach in (alone, *padded)] if padded.dim() else [bool(alone)]
    if seen != [attention == "bidirectional"] * len(seen):
        found = "bidirectional" if all(seen) else "causal" if not any(seen) else "mixed"
        raise UserError(
            f"model.attention is {attention}, but the loaded backbone's attention is {found}.\n"
            "Use --model.attn_implementation eager, or set model.attention to what it can do."
        )


def _reach(model: nn.Module, ids: Tensor, changed: Tensor, mask: Tensor) -> Tensor:
    """Whether the first hidden state of each row depends on its last token."""
    one, other = (
        model(input_ids=tokens, attention_mask=mask).last_hidden_state[:, 0].float()
        for tokens in (ids, changed)
    )
    moved: Tensor = (one - other).abs().amax(-1) > 1e-6 * one.abs().amax(-1)
    return moved if len(moved) > 1 else moved[0]
