"""Reads checkpoint files as tensors and plain values, without running code in them."""

from pathlib import Path
from typing import Any

import torch

from ner_lightning.errors import UserError


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads the tensors and plain values of a checkpoint.

    Raises:
        UserError: it is truncated, not a checkpoint, or not one of ner-lightning.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:
        others = [str(other) for other in sorted(path.parent.glob("*.ckpt")) if other != path]
        raise UserError(
            f"{path} is not a complete checkpoint of ner-lightning ({type(error).__name__}): it is "
            "truncated, or holds more than tensors and plain values."
            + (f"\nBeside it there is {', '.join(others)}" if others else "")
        ) from None
    if not isinstance(content, dict) or not {"config", "backbone", "state_dict"} <= content.keys():
        raise UserError(f"{path} is not a checkpoint of ner-lightning")
    return content
