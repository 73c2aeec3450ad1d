"""SharedChange: a change of the whole process that several threads need at once, undone after the last."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ContextDecorator


class SharedChange(ContextDecorator, AbstractContextManager[None]):
    """Is entered any number of times, by any threads: the first one makes the change, the last one undoes it.

    Each of them undoing its own would put back what another one has changed. It also decorates functions.

    Args:
        change: makes the change, and undoes it.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[None]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._users = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._made = self._change()
                self._made.__enter__()
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._made.__exit__(None, None, None)
