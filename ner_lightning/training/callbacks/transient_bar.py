"""TransientProgressBar: Lightning's progress bar, of which nothing stays in the terminal when it is done."""

from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm


class TransientProgressBar(TQDMProgressBar):
    """A progress bar that goes when it is done: the table of epochs, or the result, says what stays."""

    def init_train_tqdm(self) -> Tqdm:
        """That of an epoch."""
        return _passing(super().init_train_tqdm())

    def init_validation_tqdm(self) -> Tqdm:
        """That of a validation."""
        return _passing(super().init_validation_tqdm())

    def init_test_tqdm(self) -> Tqdm:
        """That of a test."""
        return _passing(super().init_test_tqdm())


def _passing(bar: Tqdm) -> Tqdm:
    bar.leave = False
    return bar
