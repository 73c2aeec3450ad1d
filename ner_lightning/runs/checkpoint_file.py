"""Checkpoint files: read as tensors and plain values, written whole."""

from pathlib import Path
from typing import Any

import torch

from ner_lightning.errors import UserError


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint's tensors and plain values; no code in it is ever run.

    Raises:
        UserError: it is cut short, not a checkpoint, or not one of ner-lightning's.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:
        others = [str(other) for other in sorted(path.parent.glob("*.ckpt")) if other != path]
        raise UserError(
            f"{path} is not a whole checkpoint of ner-lightning ({type(error).__name__}): it was cut "
            "short, or holds more than tensors and plain values."
            + (f"\nBeside it there is {', '.join(others)}" if others else "")
        ) from None
    if not isinstance(content, dict) or not {"config", "backbone", "state_dict"} <= content.keys():
        raise UserError(f"{path} is not a checkpoint of ner-lightning's")
    return content
