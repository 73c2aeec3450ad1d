"""Ray actors: blocks are tagged on the machines of a Ray cluster, each actor with a model of its own."""

import logging
import os
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

from ner_lightning.data.readers.record import Record
from ner_lightning.errors import UserError
from ner_lightning.inference.block_pool import AT_A_TIME, IN_FLIGHT
from ner_lightning.inference.bulk import TaggedBlock
from ner_lightning.inference.worker_pool import Make
from ner_lightning.system.child_process import cores_each

INSTALL = "pip install 'ner-lightning[ray]'"
_ADVICE = "if memory ran out, give fewer --workers, or machines with more"
RETRIES = 3  # of a block, or of loading, whose actor ends


class _Sent(NamedTuple):
    """A block that an actor tags.

    Attributes:
        number: of the block.
        block: to be sent again if the actor ends.
        slot: of the actor among all.
        actor: the actor itself; another may have taken its place.
        retries: how often the block was sent before.
    """

    number: int
    block: list[Record]
    slot: int
    actor: Any
    retries: int


def check_ray() -> None:
    """Checks that Ray is installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("ray") is None:
        raise UserError(f"--ray needs ray, which is not installed.\nInstall: {INSTALL}")


class RayActors:
    """Actors that tag blocks; a context, at whose end they end.

    Another takes the place of an actor that ends, or whose machine does, and tags its blocks. Ray's own
    restarts have no limit for each block, and one that ends every actor would be tagged for ever.

    Args:
        make: makes the tagger of an actor, as for `WorkerPool`; the package is installed on every machine.
        address: of the cluster: `auto`, `HOST:PORT`; `local` starts one on this machine.
        count: how many actors; None for one on each GPU of the cluster, or on each machine if it has none.
    """

    def __init__(self, make: Make, address: str, count: int | None) -> None:
        import ray

        self._ray: Any = ray
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        cores = {"num_cpus": max(cores_each(1), count or 1)} if address == "local" else {}
        try:
            ray.init(
                address, **cores, include_dashboard=False if cores else None, logging_level=logging.ERROR
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            what = str(error).partition("\n")[0]
            raise UserError(
                f"--ray {address}: there is no Ray cluster ({what:.150});\n"
                "start one with `ray start --head`, or use --ray local"
            ) from None
        self.resources = _each(ray.cluster_resources(), sum(node["Alive"] for node in ray.nodes()), count)
        self.count = int(self.resources.pop("count"))
        actor = ray.remote(**self.resources)(_Actor)
        self._new = partial(actor.remote, make)
        self._actors = [self._new() for _ in range(self.count)]
        self._holds = [0] * self.count
        self._tagging: dict[Any, _Sent] = {}  # by their futures

    def __enter__(self) -> "RayActors":
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    @property
    def most(self) -> int:
        """See `BlockPool`."""
        return IN_FLIGHT * self.count

    def start(self) -> tuple[str, ...]:
        """Waits until an actor has loaded its tagger; returns its entity types.

        Raises:
            UserError: it cannot be loaded.
        """
        ended = [0] * self.count
        while max(ended) <= RETRIES:
            loading = {actor.types.remote(): slot for slot, actor in enumerate(self._actors)}
            loaded, _ = self._ray.wait(list(loading))
            types: tuple[str, ...] | None = self._result(loaded[0])
            if types is not None:
                return types
            slot = loading[loaded[0]]
            ended[slot] += 1
            self._actors[slot] = self._new()
        raise UserError(f"Ray actors ended {RETRIES + 1} times while they loaded the tagger;\n{_ADVICE}")

    def has_room(self) -> bool:
        """See `BlockPool`."""
        return min(self._holds) < AT_A_TIME

    def send(self, number: int, block: list[Record], retries: int = 0) -> None:
        """See `BlockPool`."""
        chosen = self._holds.index(min(self._holds))
        self._holds[chosen] += 1
        actor = self._actors[chosen]
        self._tagging[actor.tag.remote(block)] = _Sent(number, block, chosen, actor, retries)

    def receive(self) -> dict[int, TaggedBlock]:
        """See `BlockPool`.

        Raises:
            UserError: an actor cannot load the tagger, or every one that got a block ended.
        """
        tagged: dict[int, TaggedBlock] = {}
        done, _ = self._ray.wait(list(self._tagging))
        for future in done:
            sent = self._tagging.get(future)
            if sent is None:
                continue  # it went with its actor
            result = self._result(future)
            if result is None:
                tagged |= self._replace(sent)
            else:
                del self._tagging[future]
                self._holds[sent.slot] -= 1
                tagged[sent.number] = result
        return tagged

    def _replace(self, ended: _Sent) -> dict[int, TaggedBlock]:
        """Starts another actor for one that has ended, and sends the blocks again that it has not tagged.

        An actor tags its blocks in order, so that the first of these is the one with which it ended.
        """
        own = {future: sent for future, sent in self._tagging.items() if sent.actor is ended.actor}
        for future in own:
            del self._tagging[future]
        self._holds[ended.slot] = 0
        self._actors[ended.slot] = self._new()
        ready, _ = self._ray.wait(list(own), num_returns=len(own), timeout=0)
        results = {future: self._result(future) for future in ready}
        tagged = {own[future].number: result for future, result in results.items() if result is not None}
        first, *others = [sent for sent in own.values() if sent.number not in tagged]
        if first.retries == RETRIES:
            record = first.block[0]
            raise UserError(
                f"{record.source}:{record.line}: every Ray actor that got the texts from here on "
                f"ended, {RETRIES + 1} times;\n{_ADVICE}"
            )
        self.send(first.number, first.block, first.retries + 1)
        for sent in others:
            self.send(sent.number, sent.block, sent.retries)
        return tagged

    def _result(self, future: Any) -> Any:
        """What an actor returns; None if it has ended."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(future)
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise
        except (errors.RayActorError, errors.ObjectLostError, errors.OutOfMemoryError):
            return None


def _each(cluster: dict[str, float], nodes: int, count: int | None) -> dict[str, float]:
    """What each actor takes of a cluster's resources, and how many there are.

    Raises:
        UserError: the cluster has no cores.
    """
    gpus, cores = int(cluster.get("GPU", 0)), cluster.get("CPU", 0.0)
    if not cores:
        raise UserError("the Ray cluster has no cores for actors; start it with --num-cpus")
    count = count or gpus or nodes
    share = cores / count
    taken: dict[str, float] = {"count": count, "num_cpus": int(share) if share > 1 else share}
    return taken | ({"num_gpus": min(1.0, gpus / count)} if gpus else {})


class _Actor:
    """A process on a machine of the cluster; Ray gives it its cores and its GPU."""

    def __init__(self, make: Make) -> None:
        self._failure: Exception | None = None
        try:
            self._tag = make(0, None)
        except Exception as error:  # raised here it would be the end of an actor, without its reason
            self._failure = error

    def types(self) -> tuple[str, ...]:
        if self._failure is not None:
            raise self._failure
        return tuple(self._tag.tagger.labels.types)

    def tag(self, block: list[Record]) -> TaggedBlock:
        if self._failure is not None:
            raise self._failure
        return self._tag(block)
