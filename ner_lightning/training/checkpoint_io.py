"""Checkpoint files that are whole: written beside their place, and moved there when complete."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from ner_lightning.runs import write_bytes


class WholeFileIO(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces.

    Lightning writes to the folder for temporary files and moves the result. To another file system
    that is a copy over the old checkpoint, and a disk that fills up then leaves neither.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: tensors and plain values.
            path: the file.
            storage_options: not used; run folders are local.

        Raises:
            OSError: it cannot be written; the old file is as it was.
        """
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), content.getbuffer())
