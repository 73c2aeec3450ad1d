"""quiet: the exporters of graphs are silent, and leave warnings and logging as they were."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_exporters() -> Iterator[None]:
    """Within it no library warns, and afterwards the root logger has its own handlers again.

    PyTorch's exporter logs every step. OpenVINO logs which operations this version of PyTorch does not have,
    by a function that adds a handler.
    """
    before, handlers = logging.root.manager.disable, list(logging.root.handlers)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        logging.root.handlers[:] = handlers
