"""Warnings and notes of libraries that a user can do nothing about."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_INTERNAL = (
    ".*LightningCLI's args parameter.*",
    ".*does not have many workers.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*is not resumable.*",
    ".*hooks will not be called on every batch.*",  # an average takes steps, not batches
    ".*litlogger.*",
    ".*smaller than the logging interval.*",  # each epoch has its line whatever the interval
    ".*Found .* module.* in eval mode.*",
    ".*anonymous setting.*",
    ".*recommended to use .self.log.*sync_dist.*",  # the metrics are summed over ranks already
    "The dirpath has changed from .*",
    r"The \.grad attribute of a Tensor that is not a leaf.*",  # torch.compile looking around
)


@contextmanager
def without_library_notes() -> Iterator[None]:
    """Silences what libraries say about their own internals, as long as the block runs."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _INTERNAL:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)  # no tips and notes on hardware
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
