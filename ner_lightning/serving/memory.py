"""Keeps a service's memory bounded: fewer cached CPU kernels, and unused heap returned to the system."""

import ctypes
import os
import time

INTERVAL = 2.0  # seconds between two trims
# Kernel caches of oneDNN and of PyTorch's layer above it. A batch needs about ten kernels, one for several
# taggers about fifteen; each has its code and its buffers. If they did not fit, every call would compile one.
CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32", "LRU_CACHE_CAPACITY": "32"}


def limit_kernel_caches() -> None:
    """Limits the caches of CPU kernels, unless the environment sets them. Call it before torch is loaded.

    A kernel is compiled for each shape of matrices, and by default a thousand are kept. The batches of a
    service keep having new shapes, so memory would grow for a long time with kernels that are hardly reused.
    """
    for name, capacity in CACHES.items():
        os.environ.setdefault(name, capacity)


class Trimmer:
    """Returns unused heap memory of glibc's allocator to the system; without glibc it does nothing.

    Batches of varying shapes fragment the heap, so a service would seem to grow for a long time.
    """

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._last = 0.0

    def __call__(self) -> None:
        """Trims, if the last time is long enough ago."""
        now = time.monotonic()
        if self._trim is not None and now - self._last >= INTERVAL:
            self._last = now
            self._trim(0)
