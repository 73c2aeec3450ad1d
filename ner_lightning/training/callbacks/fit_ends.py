"""FitEnds: nothing of a fit reaches the next one, and what breaks off leaves its module in order."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from ner_lightning.system.allocator import keep_freed_memory, return_freed_memory


class FitEnds(Callback):
    """Clears up at both ends of a fit; every `TrainingModule` brings it along.

    An exception calls no hook of a module, but those of callbacks.
    """

    _keeps_memory = False

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Lets go of what an earlier fit left in the module, before a checkpoint is loaded."""
        if hasattr(pl_module, "forget_fit"):  # a trainer may be given another module
            pl_module.forget_fit()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keeps freed memory during the fit, on a CPU."""
        self._keeps_memory = pl_module.device.type == "cpu" and keep_freed_memory()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Gives it back."""
        if self._keeps_memory:
            self._keeps_memory = False
            return_freed_memory()

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Gives it back, and ends an evaluation: no average of weights is left, and dropout is back."""
        self.on_train_end(trainer, pl_module)
        if hasattr(pl_module, "put_weights_back"):
            pl_module.put_weights_back()
        modes: Any = getattr(trainer._active_loop, "_module_mode", None)  # as Lightning found them
        if modes is not None:
            modes.restore(pl_module)
