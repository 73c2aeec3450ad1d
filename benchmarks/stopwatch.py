"""Notes when a fit reaches its stages, for cache_speed.py and startup.py: a callback that writes a file."""

import json
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback


class Stopwatch(Callback):
    """Writes the time of each stage.

    Args:
        file: where to.
    """

    def __init__(self, file: str) -> None:
        self._file = Path(file)
        self._times: dict[str, float] = {}

    def _note(self, stage: str) -> None:
        if stage not in self._times:
            self._times[stage] = time.time()
            self._file.write_text(json.dumps(self._times), encoding="utf-8")

    def on_fit_start(self, *_: Any) -> None:
        """The model is loaded; hidden states are computed next, if they are kept."""
        self._note("fit")

    def on_train_start(self, *_: Any) -> None:
        """The first epoch begins."""
        self._note("train")

    def on_train_batch_start(self, *_: Any) -> None:
        """The first step begins."""
        self._note("step")

    def on_fit_end(self, *_: Any) -> None:
        """All epochs are done."""
        self._note("end")
