"""Whether a device has float64, in which sums are accumulated."""

import torch


def has_float64(device: torch.device) -> bool:
    """Whether a device can hold float64: Apple's GPUs cannot."""
    return device.type != "mps"
