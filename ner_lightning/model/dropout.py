"""Dropout with fewer random numbers and passes over memory than PyTorch's on a CPU."""

import torch
from torch import Tensor, nn

STEPS = 1 << 16  # probabilities are multiples of one in so many


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`; on a CPU one 64-bit random number decides on four values instead of one.

    With a frozen backbone, whose hidden states come from a cache, PyTorch's was half of a training step.
    The probability is rounded to a multiple of 1/65536, and the scale is that of the rounded one.
    """

    def forward(self, input: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Zeroes values at random and scales the others up, while training. *Shape:* any.

        Args:
            input: any floating point.
            dtype: of the result; values are zeroed before the conversion and scaled after it. None: input's.
        """
        dtype = dtype or input.dtype
        threshold = round(self.p * STEPS)
        if not self.training or threshold in (0, STEPS) or input.device.type != "cpu":
            return super().forward(input.to(dtype))
        draws = torch.empty(-(-input.numel() // 4), dtype=torch.long).random_(-(1 << 63), None)
        bits = draws.view(torch.int16)[: input.numel()].view(input.shape)
        kept = bits >= threshold - STEPS // 2
        return (input * kept).to(dtype).mul_(STEPS / (STEPS - threshold))
