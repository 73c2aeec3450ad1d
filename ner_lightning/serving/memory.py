"""Memory that the allocator keeps for later is given back to the system."""

import ctypes
import time

EVERY = 2.0  # seconds between two times


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
