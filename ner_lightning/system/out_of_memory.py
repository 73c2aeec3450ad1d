"""Which errors say that memory ran out: of a GPU, or of the machine."""

import errno
import re
import sys

# Libraries raise a plain RuntimeError at much of it; that of a worker holds the traceback of its error.
_GPU = re.compile(
    r"\b(CUDA|HIP|MPS|XPU)\b.*out of memory|(CU|HIP)\w+_STATUS_ALLOC_FAILED|OutOfMemoryError", re.IGNORECASE
)
_CPU = re.compile(
    r"DefaultCPUAllocator|(not enough|cannot allocate|failed to allocate|out of) memory|bad_alloc"
    r"|^(\w+\.)*_?(Array)?MemoryError",
    re.IGNORECASE | re.MULTILINE,
)


def out_of_memory(error: BaseException) -> str | None:
    """Where memory ran out, `GPU` or `CPU`; None if the error says something else."""
    torch = sys.modules.get("torch")  # whose import would need memory, too
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return "GPU"
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "CPU"
    if isinstance(error, RuntimeError):
        return "GPU" if _GPU.search(str(error)) else "CPU" if _CPU.search(str(error)) else None
    return None
