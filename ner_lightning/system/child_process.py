"""Child processes: they leave Ctrl-C to their parent, end with it, and share the machine's cores."""

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path

CONTROL = Path("/sys/fs/cgroup")  # where Linux says what a container may use
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
    return max(1, usable_cores() // count)


def usable_cores() -> int:
    """How many cores this process may use: those that it is bound to, or fewer by its container's quota."""
    cores, quota = _bound_cores(), _cpu_quota()
    return cores if quota is None else min(cores, max(1, math.ceil(quota)))


def keep_to_quota() -> None:
    """Lets PyTorch and its like, if not yet imported, use no more threads than a container's quota has cores.

    They count the machine's cores, and threads that wait for each other and for their share of a quota are
    many times slower. A user's own OMP_NUM_THREADS stays.
    """
    if (cores := usable_cores()) < _bound_cores():
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def _bound_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_quota() -> float | None:
    """The cores' worth of time that a Linux container has, such as 1.5; None if nothing limits it."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):  # cgroup v2, v1
        try:
            quota, period = " ".join((CONTROL / file).read_text(encoding="ascii") for file in files).split()
            if int(quota) > 0:  # v1 says -1, v2 `max`, where nothing limits it
                return int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return None


def join_or_kill(processes: Iterable[BaseProcess], grace: float) -> None:
    """Waits until processes that were told to stop have ended.

    Args:
        processes: the processes.
        grace: seconds for all of them together; what takes longer is killed.
    """
    until = time.monotonic() + grace
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()


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
