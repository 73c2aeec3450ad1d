"""Workers: several processes that answer at one port, each with a model of its own."""

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from ner_lightning.system.child_process import follow_parent, join_or_kill

RETRY = 5.0  # seconds until the successor of a worker that did not start is started
POLL = 0.2  # seconds between two looks for a signal


@dataclass(eq=False)
class _Worker:
    number: int  # of a dead worker its successor's
    process: SpawnProcess
    started: Connection  # holds a message once the worker accepts requests
    ready: bool = False


class Workers:
    """Starts processes, replaces those that die, and stops all of them when it is told to stop.

    The first one starts alone, so that a user's mistake is told once.

    Args:
        work: what a worker does: it calls its last argument once it accepts requests, and returns when a
            SIGTERM has told it to stop. A module's function, since it is passed to another process.
        given: its first arguments.
        count: how many workers.
        grace: seconds between SIGTERM and SIGKILL to a worker.
    """

    def __init__(self, work: Callable[..., None], given: tuple[Any, ...], count: int, grace: float) -> None:
        self._work, self._given, self._count, self._grace = work, given, count, grace
        self._context = multiprocessing.get_context("spawn")  # CUDA and OpenMP do not survive a fork
        self._workers: list[_Worker] = []
        self._stopping = False

    def run(self, on_start: Callable[[], None], on_stop: Callable[[], None]) -> int:
        """Runs until SIGTERM or SIGINT; returns the exit code.

        Args:
            on_start: called once all workers accept requests for the first time.
            on_stop: called before the workers are told to stop.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_stop)
        served = announced = False
        next_start = 0.0
        while not self._stopping:
            wanted = self._count if served else 1
            if len(self._workers) < wanted and time.monotonic() >= next_start:
                self._workers.append(self._start())
                continue
            wait([each.process.sentinel for each in self._workers], timeout=POLL)
            for worker in self._look():
                if not served:
                    return worker.process.exitcode or 1
                sys.stderr.write(f"A worker ended with code {worker.process.exitcode}; another one starts.\n")
                next_start = 0.0 if worker.ready else time.monotonic() + RETRY
            served = served or any(each.ready for each in self._workers)
            if not announced and sum(each.ready for each in self._workers) == self._count:
                announced = True
                on_start()
        on_stop()
        return self._stop()

    def _told_to_stop(self, *_: Any) -> None:
        self._stopping = True

    def _start(self) -> _Worker:
        started, tell = self._context.Pipe(duplex=False)
        number = min(set(range(self._count)) - {each.number for each in self._workers})
        process = self._context.Process(target=_run_worker, args=(self._work, self._given, number, tell))
        process.start()
        tell.close()  # the worker has its own
        return _Worker(number, process, started)

    def _look(self) -> list[_Worker]:
        """Notes which workers are ready; removes and returns those that have ended."""
        for worker in self._workers:
            if not worker.ready and worker.started.poll():
                try:
                    worker.ready = worker.started.recv()
                except EOFError:  # it ended
                    worker.process.join()
        ended = [each for each in self._workers if each.process.exitcode is not None]
        self._workers = [each for each in self._workers if each not in ended]
        for worker in ended:
            _forget_counts(worker)
        return ended

    def _stop(self) -> int:
        """Tells all workers to stop; kills those that take too long. Returns the exit code."""
        for worker in self._workers:
            worker.process.terminate()
        join_or_kill((worker.process for worker in self._workers), self._grace)
        # A worker that had not begun to serve does not handle the signal.
        good = {0, -signal.SIGTERM}
        return int(any(each.process.exitcode not in good for each in self._workers))


def _forget_counts(worker: _Worker) -> None:
    """Removes a dead worker from the gauges that are summed over workers; its counters stay."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.process.pid)  # type: ignore[no-untyped-call]


def _run_worker(work: Callable[..., None], given: tuple[Any, ...], number: int, tell: Connection) -> None:
    """What a worker process runs: the work, which ends when the first process does."""
    follow_parent(number)
    work(*given, lambda: tell.send(True))
