"""Memory that a training frees stays with its process until it ends, on Linux with glibc."""

import ctypes
import sys
from typing import Any

# Parameters of mallopt, from glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT = {MMAP_THRESHOLD: 2**30, TRIM_THRESHOLD: 2**31 - 1}  # bytes; the second is the largest int
# What glibc arrives at by itself after large blocks; set once, it no longer adapts.
USUAL = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}


def keep_freed_memory() -> bool:
    """Lets glibc keep large blocks that are freed, so that the next step gets them back at once.

    Otherwise they go back to the system, and each step waits for pages that are cleared anew.

    Returns:
        whether it does now; False where the C library is another one.
    """
    library = _glibc()
    return library is not None and _set(library, KEPT)


def return_freed_memory() -> None:
    """Gives what was kept back to the system, and keeps no more."""
    library = _glibc()
    if library is not None:
        _set(library, USUAL)
        library.malloc_trim(0)


def _set(library: Any, thresholds: dict[int, int]) -> bool:
    done = [bool(library.mallopt(parameter, size)) for parameter, size in thresholds.items()]
    return all(done)


def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None  # not musl
