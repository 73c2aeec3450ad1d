"""BlockPool: workers that tag blocks at the same time, and how their results come back in order."""

import time
from collections.abc import Iterator
from typing import Protocol

from ner_lightning.data.readers.record import Record
from ner_lightning.inference.bulk import TaggedBlock

AT_A_TIME = 2  # blocks that a worker holds: one that it tags, and the next one
IN_FLIGHT = 4  # blocks for each worker that are read and not yet written; a slow block delays those after it


class BlockPool(Protocol):
    """Workers that tag blocks."""

    @property
    def most(self) -> int:
        """How many blocks may be with them, or wait for one before them."""

    def has_room(self) -> bool:
        """Whether a worker takes a block."""

    def send(self, number: int, block: list[Record]) -> None:
        """Gives a block to the worker that has the fewest."""

    def receive(self) -> dict[int, TaggedBlock]:
        """Waits until a worker says something; returns the blocks that were tagged, by their numbers."""


def tag_in_order(pool: BlockPool, blocks: Iterator[list[Record]]) -> Iterator[TaggedBlock]:
    """Tags blocks; each is yielded in its turn, with the seconds since the one before it.

    What reading raises, such as a DataError, is raised when all blocks before it are yielded.

    Raises:
        UserError: a worker ended.
    """
    done: dict[int, TaggedBlock] = {}
    failure: Exception | None = None
    sent = yielded = 0
    more, last = True, time.monotonic()
    while more or yielded < sent:
        while more and sent - yielded < pool.most and pool.has_room():
            try:
                block = next(blocks, None)
            except Exception as error:
                failure, block = error, None
            more = block is not None
            if block is not None:
                pool.send(sent, block)
                sent += 1
        if yielded < sent:
            done |= pool.receive()
        while yielded in done:
            now = time.monotonic()
            yield done.pop(yielded)._replace(seconds=now - last)
            yielded, last = yielded + 1, now
    if failure is not None:
        raise failure
