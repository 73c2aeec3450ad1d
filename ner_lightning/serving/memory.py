"""A service's memory stays what it is: few kernels are kept, and what the allocator holds is given back."""

import ctypes
import os
import time

EVERY = 2.0  # seconds between two times
# Of oneDNN, and of PyTorch's layer above it. A batch needs about ten; each keeps its code and its buffers.
CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32", "LRU_CACHE_CAPACITY": "32"}


def keep_few_kernels() -> None:
    """Lets a CPU's kernels be forgotten; before torch is loaded, and unless the environment says otherwise.

    A kernel is made for each shape of matrices, and by default a thousand are kept. Batches of a service have
    ever other shapes, so that it would grow for long, and hardly ever use one again.
    """
    for name, most in CACHES.items():
        os.environ.setdefault(name, most)


class Trimmer:
    """Gives back what glibc's allocator holds but does not use.

    Batches of ever other shapes leave gaps of ever other sizes in its heaps, so that a service would seem to
    grow for a long time. Where there is no glibc it does nothing.
    """

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._last = 0.0

    def __call__(self) -> None:
        """Gives back, if the last time is long enough ago."""
        now = time.monotonic()
        if self._trim is not None and now - self._last >= EVERY:
            self._last = now
            self._trim(0)
