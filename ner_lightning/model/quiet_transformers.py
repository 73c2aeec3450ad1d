"""quiet_transformers: its own progress bars and warnings are silent while a model is loaded or written."""

from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger

from ner_lightning.system.shared_change import SharedChange


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences transformers' own progress bars and warnings, and bitsandbytes'; errors and downloads stay."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    from transformers.utils import logging

    show_downloads = disable_progress_bars if are_progress_bars_disabled() else enable_progress_bars
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    package = getLogger("bitsandbytes.backends.cpu.ops")  # which says that a package is not there
    level = package.level
    package.setLevel(ERROR)
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # the Hub's as well, so those are shown as before
    show_downloads()
    try:
        yield
    finally:
        package.setLevel(level)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
            show_downloads()


quiet_transformers = SharedChange(_quiet)
