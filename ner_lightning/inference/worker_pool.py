"""WorkerPool: several processes of this machine, each with a model of its own, tag blocks."""

import logging
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, NoReturn

from ner_lightning.data.readers.record import Record
from ner_lightning.errors import UserError
from ner_lightning.inference.block_pool import AT_A_TIME, IN_FLIGHT
from ner_lightning.inference.bulk import BlockTagger, TaggedBlock
from ner_lightning.system.child_process import cores_each, end_of, follow_parent, join_or_kill
from ner_lightning.system.progress import printed

START = "spawn"  # CUDA and OpenMP do not survive a fork
GRACE = 5.0  # seconds until a worker that is to end is killed

Make = Callable[[int, float | None], BlockTagger]


class TaggerFacts(NamedTuple):
    """What a worker says of its tagger.

    Attributes:
        types: its entity types.
        temperature: of its scores.
    """

    types: tuple[str, ...]
    temperature: float


@dataclass(eq=False)
class _WorkerProcess:
    """A process.

    Attributes:
        name: `worker N of M`.
        process: the process.
        pipe: blocks go in, tagged blocks come out.
        facts: None until its tagger is loaded.
        holds: how many blocks it has.
    """

    name: str
    process: Any
    pipe: Connection
    facts: TaggerFacts | None = None
    holds: int = field(default=0)


class WorkerPool:
    """Processes that tag blocks; a context, at whose end they end.

    Args:
        make: makes the tagger of a worker, of its number from 0 and a temperature; None for that of the
            command. It is passed to other processes.
        count: how many processes.
        first_alone: start the others when the first one has its tagger, with its temperature.
    """

    def __init__(self, make: Make, count: int, *, first_alone: bool = False) -> None:
        self._make, self._count = make, count
        self._workers: list[_WorkerProcess] = []
        self._first_alone = first_alone

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.pipe.close()  # at which a worker without a block returns
            if worker.holds or worker.facts is None:
                worker.process.terminate()
        join_or_kill((worker.process for worker in self._workers), GRACE)

    def start(self) -> TaggerFacts:
        """Starts the processes; returns what the first says that has loaded its tagger.

        Raises:
            UserError: it cannot be loaded.
        """
        for number in range(1 if self._first_alone else self._count):
            self._start(number, None)
        while not (ready := [each.facts for each in self._workers if each.facts is not None]):
            self.receive()
        for number in range(len(self._workers), self._count):
            self._start(number, ready[0].temperature)
        return ready[0]

    @property
    def most(self) -> int:
        """See `BlockPool`."""
        return IN_FLIGHT * self._count

    def has_room(self) -> bool:
        """See `BlockPool`."""
        return any(map(_has_room, self._workers))

    def send(self, number: int, block: list[Record]) -> None:
        """See `BlockPool`.

        Raises:
            UserError: the worker ended.
        """
        worker = min(filter(_has_room, self._workers), key=lambda worker: worker.holds)
        try:
            worker.pipe.send((number, block))
        except OSError:
            self._lost(worker)
        worker.holds += 1

    def _start(self, number: int, temperature: float | None) -> None:
        context: Any = multiprocessing.get_context(START)
        mine, theirs = context.Pipe()
        given = (self._make, number, self._count, temperature, theirs)
        process = context.Process(target=_work, args=given, daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._workers.append(_WorkerProcess(f"worker {number + 1} of {self._count}", process, mine))

    def receive(self) -> dict[int, TaggedBlock]:
        """See `BlockPool`.

        Raises:
            UserError: a worker ended, or cannot load the tagger.
        """
        tagged = {}
        said = wait([each.pipe for each in self._workers])
        for worker in self._workers:
            if worker.pipe not in said:
                continue
            try:
                number, content = worker.pipe.recv()
            except (EOFError, OSError):
                self._lost(worker)
            if isinstance(content, TaggerFacts):
                worker.facts = content
            elif isinstance(content, TaggedBlock):
                tagged[number] = content
                worker.holds -= 1
            else:
                raise UserError(content) if number is None else RuntimeError(f"{worker.name}:\n{content}")
        return tagged

    def _lost(self, worker: _WorkerProcess) -> NoReturn:
        worker.process.join(GRACE)
        end = end_of(worker.process.exitcode)
        raise UserError(
            f"{worker.name} (process {worker.process.pid}) {end};\nif memory ran out, give fewer --workers"
        )


def _has_room(worker: _WorkerProcess) -> bool:
    return worker.facts is not None and worker.holds < AT_A_TIME


def _work(make: Make, number: int, count: int, temperature: float | None, pipe: Connection) -> None:
    """What a worker does; it ends when its parent ends, or closes the pipe."""
    follow_parent(number)
    signal.signal(signal.SIGTERM, _exit)
    # Its parent may have closed the pipe before it has sent what it has.
    with suppress(OSError), ExitStack() as stack:
        if number == 0:
            stack.enter_context(printed("stderr"))
        else:  # it would say the same
            os.environ["TQDM_DISABLE"] = "1"
            logging.getLogger("ner_lightning").addHandler(logging.NullHandler())
        try:
            _share_cores(count)
            tag = make(number, temperature)
            pipe.send((0, TaggerFacts(tuple(tag.tagger.labels.types), float(tag.tagger.temperature))))
            blocks = _received(pipe)
            while (item := blocks.get()) is not None:
                pipe.send((item[0], tag(item[1])))
        except UserError as error:
            pipe.send((None, str(error)))
        except Exception:
            pipe.send((0, traceback.format_exc()))


def _exit(number: int, _: Any) -> NoReturn:
    """Ends the process, which so frees what it has of the system, such as semaphores."""
    raise SystemExit(128 + number)


def _share_cores(count: int) -> None:
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(cores_each(count))


def _received(pipe: Connection) -> "queue.Queue[Any]":
    """Takes blocks out of a pipe as they come, so that who sends one need not wait; None at its end."""
    blocks: queue.Queue[Any] = queue.Queue()

    def receive() -> None:
        with suppress(EOFError, OSError):
            while True:
                blocks.put(pipe.recv())
        blocks.put(None)

    threading.Thread(target=receive, daemon=True).start()
    return blocks
