"""Concurrent requests share the model: those that wait while it works are its next batch."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Full(Exception):  # noqa: N818  (no error of ours: the client should come back later)
    """As many requests wait as may."""


@dataclass(eq=False)  # two requests with the same texts are still two
class _Job(Generic[Result]):
    texts: Sequence[str]
    done: "asyncio.Future[list[Result]]"

    @property
    def size(self) -> int:
        return sum(map(len, self.texts)) + len(self.texts)


class Batcher(Generic[Result]):
    """Puts requests into batches; one thread works on them, one batch after the other.

    Nothing waits for a batch to fill up: whatever came in while the model was busy goes next, together.

    Args:
        work: what is done with a batch of texts; it gives a result for each.
        waiting: how many requests may wait.
        characters: a batch is closed once it has as many.
        on_batch: called with the number of requests of each batch that begins.
    """

    def __init__(
        self,
        work: Callable[[list[str]], Sequence[Result]],
        *,
        waiting: int,
        characters: int,
        on_batch: Callable[[int], None] = lambda requests: None,
    ) -> None:
        self._work = work
        self._on_batch = on_batch
        self._most = waiting
        self._characters = characters
        self._jobs: deque[_Job[Result]] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tagger")
        self._loop = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return len(self._jobs)

    async def submit(self, texts: Sequence[str]) -> list[Result]:
        """The results of some texts. Cancel it, and they are left out if they still wait.

        Raises:
            Full: too many requests wait, or the service is stopping.
        """
        if self._closing or len(self._jobs) >= self._most:
            raise Full
        job = _Job[Result](texts, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._arrived.set()
        try:
            return await job.done
        finally:
            if job in self._jobs:
                self._jobs.remove(job)

    async def close(self) -> None:
        """Takes nothing new, finishes what waits, and ends the thread."""
        self._closing = True
        self._arrived.set()
        await self._loop
        self._thread.shutdown()

    async def _run(self) -> None:
        while not (self._closing and not self._jobs):
            await self._arrived.wait()
            batch = self._next()
            if batch:
                await self._do(batch)
            elif not self._closing:
                self._arrived.clear()

    def _next(self) -> list[_Job[Result]]:
        batch: list[_Job[Result]] = []
        size = 0
        while self._jobs and (not batch or size + self._jobs[0].size <= self._characters):
            batch.append(self._jobs.popleft())
            size += batch[-1].size
        return batch

    async def _do(self, batch: list[_Job[Result]]) -> None:
        self._on_batch(len(batch))
        texts = [text for job in batch for text in job.texts]
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, texts)
        except Exception as error:
            if len(batch) > 1:  # one of them is to blame: the others shall not suffer for it
                for job in batch:
                    await self._do([job])
            elif not batch[0].done.done():
                batch[0].done.set_exception(error)
            return
        start = 0
        for job in batch:
            if not job.done.done():  # nobody waits for it any more otherwise
                job.done.set_result(list(found[start : start + len(job.texts)]))
            start += len(job.texts)
