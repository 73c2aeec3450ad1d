"""Memory that a training frees stays with its process, on Linux with glibc."""

import ctypes
import sys

# Parameters of mallopt, from glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
MOST = 2**31 - 1  # bytes; mallopt takes an int


def keep_freed_memory() -> bool:
    """Lets glibc keep large blocks that are freed, so that the next step gets them back at once.

    Otherwise they go back to the system, and each step waits for pages that are cleared anew.

    Returns:
        whether it does now; False where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    return bool(mallopt(MMAP_THRESHOLD, 2**30)) and bool(mallopt(TRIM_THRESHOLD, MOST))
