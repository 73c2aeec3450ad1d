"""Child processes: they leave Ctrl-C to their parent, end with it, and share the machine's cores."""

import multiprocessing
import os
import signal
import threading

WORKER = "NER_LIGHTNING_WORKER"  # names the number of a worker, from 0, in its environment


def follow_parent(number: int) -> None:
    """Called in a child: leaves Ctrl-C to the parent, and sends SIGTERM here when the parent has ended.

    Args:
        number: of the child among several workers, from 0; by it a GPU is chosen.
    """

    def end_with_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    os.environ[WORKER] = str(number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all processes
    threading.Thread(target=end_with_parent, daemon=True).start()


def cores_each(count: int) -> int:
    """How many of the cores that this process may use each of `count` processes gets, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // count)


def end_of(code: int | None) -> str:
    """How a process ended, in words.

    Args:
        code: its exit code as `multiprocessing` gives it: minus the signal's number for what was killed.
    """
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")
