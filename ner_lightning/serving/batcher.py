"""Batches concurrent requests: those that arrive while the model works are its next batch."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
Outcome = TypeVar("Outcome")
Item = TypeVar("Item")


class Full(Exception):  # noqa: N818  (not a failure: the client should try again later)
    """The queue is full, or the service is stopping."""


@dataclass(eq=False)  # two requests with the same texts are still two
class _Job(Generic[Item, Result]):
    items: Sequence[Item]
    size: int
    options: Mapping[str, Any]
    done: "asyncio.Future[list[Result]]"


class Batcher(Generic[Item, Result]):
    """Puts requests into batches; a single thread works on them, one batch after the other.

    No request waits for a batch to fill up: all that arrived while the model was busy form the next one,
    except those with other options than the first.

    Args:
        work: processes a batch of texts, or of what else requests are made of, with the options of its
            requests; returns a result for each.
        waiting: how many requests may wait.
        characters: a batch takes no further request that would exceed this size.
        on_batch: called with the number of requests of each batch that begins.
        size_of: the characters of an item.
    """

    def __init__(
        self,
        work: Callable[..., Sequence[Result]],
        waiting: int,
        characters: int,
        *,
        on_batch: Callable[[int], None] = lambda requests: None,
        size_of: Callable[[Any], int] = len,
    ) -> None:
        self._size_of = size_of
        self._work = work
        self._on_batch = on_batch
        self._max_waiting = waiting
        self._characters = characters
        self._jobs: deque[_Job[Item, Result]] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._since: float | None = None  # when the thread began what it does
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tagger")
        self._loop = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return len(self._jobs)

    @property
    def busy(self) -> float:
        """For how many seconds the thread has been at its batch or call; 0 if it has nothing to do."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def _timed(self, work: Callable[[], Outcome]) -> Outcome:
        self._since = time.monotonic()
        try:
            return work()
        finally:
            self._since = None

    async def call(self, change: Callable[[], Outcome]) -> Outcome:
        """Runs something between two batches, on their thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, change)

    async def submit(self, items: Sequence[Item], **options: Any) -> list[Result]:
        """Returns the results of texts; if it is cancelled while they wait, they are not processed.

        Args:
            items: the texts, or what else `work` takes.
            options: what `work` is given with them; a batch has requests with equal options.

        Raises:
            Full: too many requests are waiting, or the service is stopping.
        """
        if self._closing or len(self._jobs) >= self._max_waiting:
            raise Full
        size = sum(map(self._size_of, items)) + len(items)
        job = _Job[Item, Result](items, size, options, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._arrived.set()
        try:
            return await job.done
        finally:
            if job in self._jobs:
                self._jobs.remove(job)

    async def close(self) -> None:
        """Refuses new requests, finishes those that wait, and ends the thread."""
        self._closing = True
        self._arrived.set()
        await self._loop
        self._thread.shutdown()

    async def _run(self) -> None:
        while not (self._closing and not self._jobs):
            await self._arrived.wait()
            batch = self._next()
            if batch:
                await self._process(batch)
            elif not self._closing:
                self._arrived.clear()

    def _next(self) -> list[_Job[Item, Result]]:
        batch: list[_Job[Item, Result]] = []
        size = 0
        for job in [job for job in self._jobs if job.options == self._jobs[0].options]:
            if batch and size + job.size > self._characters:
                break
            batch.append(job)
            size += job.size
        for job in batch:
            self._jobs.remove(job)
        return batch

    async def _process(self, batch: list[_Job[Item, Result]]) -> None:
        self._on_batch(len(batch))
        items = [item for job in batch for item in job.items]
        try:
            work = partial(self._work, items, **batch[0].options)
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, work)
        except Exception as error:
            if len(batch) > 1:  # one of them caused it: the others get their results
                for job in batch:
                    await self._process([job])
            elif not batch[0].done.done():
                batch[0].done.set_exception(error)
            return
        start = 0
        for job in batch:
            if not job.done.done():  # otherwise it was cancelled
                job.done.set_result(list(results[start : start + len(job.items)]))
            start += len(job.items)
