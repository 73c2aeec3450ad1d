"""Dropout of values, with less work than PyTorch's on a CPU, and of whole words at the backbone's input."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ner_lightning.data.batching import Batch


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`; on a CPU one 64-bit random number decides on four or eight values instead of one.

    With a frozen backbone, whose hidden states come from a cache, PyTorch's was half of a training step. What
    needs no gradient, as these do not, is decided on by a byte. That cannot tell most probabilities: a call
    uses one of the two multiples of 1/256 beside `p`, and its scale, drawn so that over the calls each value
    is dropped with probability `p`. Where a backbone learns, which takes far longer, two bytes do.
    """

    def forward(self, input: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Zeroes values at random and scales the others up, while training. *Shape:* any.

        Args:
            input: any floating point.
            dtype: of the result; values are zeroed before the conversion and scaled after it. None: input's.
        """
        dtype = dtype or input.dtype
        inside = 1 / 512 <= self.p <= 255 / 256  # so that not every value of a call has the same fate
        if not self.training or not inside or input.device.type != "cpu":
            return super().forward(input.to(dtype))
        number = torch.int16 if input.requires_grad else torch.int8
        steps = 1 << 8 * number.itemsize
        exact = self.p * steps
        # A tensor, since to read it would be to wait for it.
        threshold = torch.tensor(exact).round() if input.requires_grad else (torch.rand(()) + exact).floor()
        draws = torch.empty(-(-input.numel() * number.itemsize // 8), dtype=torch.long)
        numbers = draws.random_(-(1 << 63), None).view(number)[: input.numel()].view(input.shape)
        kept = numbers >= (threshold - steps // 2).to(number)
        return (input * kept).to(dtype).mul_(steps / (steps - threshold))


def hidden_words(batch: Batch, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Draws words with probability `p` each; true on all their sub-tokens.

    Args:
        batch: whose words.
        p: from 0 to 1.
        generator: on the CPU, for draws of their own; None takes the device's.

    Returns:
        *Shape:* (R, T)
    """
    device = batch.mask.device if generator is None else generator.device
    draws = torch.rand(batch.mask.shape, device=device, generator=generator).to(batch.mask.device)
    hidden = (draws < p) & batch.mask  # (B, W)
    # Plus one where a hidden word begins and minus one behind it: sums are zero outside. No boolean index,
    # for which the host would wait.
    steps = batch.input_ids.new_zeros(batch.input_ids.numel() + 1)
    ones = hidden.flatten().to(steps.dtype)
    steps.index_add_(0, batch.first.flatten(), ones).index_add_(0, batch.last.flatten() + 1, ones, alpha=-1)
    return (steps[:-1].cumsum(0) != 0).view(batch.input_ids.shape)


@contextmanager
def unread(backbone: nn.Module, hidden: Tensor) -> Iterator[None]:
    """Within it the backbone reads zeros instead of some sub-tokens.

    What a word is must then be told from the words around it, as for a name that was never seen. Zeroing a
    word's whole embedding is word dropout as flair and AdaSeq have it; here all its sub-tokens go.

    Args:
        backbone: a transformers model.
        hidden: true where it reads nothing. *Shape:* (R, T)
    """
    read = ~hidden.unsqueeze(-1)  # (R, T, 1)
    model: Any = backbone
    hook = model.get_input_embeddings().register_forward_hook(lambda module, args, output: output * read)
    try:
        yield
    finally:
        hook.remove()
