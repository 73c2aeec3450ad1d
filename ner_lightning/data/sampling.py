"""Samplers: batches of sentences of similar length, distributed over ranks."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler, SequentialSampler

from ner_lightning.data.tokenization.encoding import Encoded
from ner_lightning.errors import UserError

# Passages are sorted by length within pools of this many batches: large enough for little padding,
# small enough that an epoch's batches have almost nothing in common with the last epoch's.
POOL = 64
ATTEMPTS = 8  # drawings of an epoch before it reuses the groups of the first


class LengthGroupedSampler(DistributedSampler[list[int]]):
    """Yields lists of indices: one batch each, of passages of similar length.

    Pass it to a DataLoader as `sampler` with `batch_size=None`. Because it is a DistributedSampler, Lightning
    does not replace it, and sets its epoch. Passages that are neighbours in length form a group, which
    is distributed over all ranks, so ranks have equal numbers of steps and steps of equal cost. Every epoch
    has as many batches as the first: a trainer counts them once, and validates and ends its epochs by that
    count.

    Args:
        passages: what is sampled; a passage is a sentence, or several that are read together.
        batch_size: passages per batch and rank, at least 1.
        tokens_per_batch: the most padded sub-tokens per batch and rank, instead of `batch_size`. A passage
            that exceeds it alone is a batch of its own. Where passages are too few to give each rank a
            batch, one of the last may exceed it too.
        shuffle: compose new batches in every epoch. False is for evaluation: it goes through the data once
            in order of length; no index is repeated, and ranks may differ by one batch.
        seed: of the shuffling, the same on every rank.
        rank: this process's index among `world`.
        world: number of processes.
    """

    def __init__(
        self,
        passages: Sequence[Encoded],
        *,
        batch_size: int,
        tokens_per_batch: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        # Only the size of the data set is used.
        super().__init__(cast("Dataset[Any]", passages), world, rank, shuffle=shuffle, seed=seed)
        self.lengths = np.array([passage.longest for passage in passages])  # (passages,)
        self.rows = np.array([len(passage.windows) for passage in passages])  # (passages,)
        self.batch_size = batch_size
        self.tokens_per_batch = tokens_per_batch
        # Returns how many batches of this epoch were done before an interruption; called at its start.
        self.done: Callable[[], int] = int
        # What `fingerprint` was then; None where that is not known.
        self.expected: str | None = None
        self._first: list[list[int]] | None = None  # the groups of the first epoch
        self._plan: tuple[int, list[list[int]]] | None = None

    def __iter__(self) -> Iterator[list[int]]:
        # A generator: Lightning asks for the iterator before it has restored the position of a resumed run,
        # so epoch and position are read only when the first batch is requested.
        batches = self.plan(self.epoch)
        done = self.done() % len(batches)
        if done and self.expected is not None and self.expected != self.fingerprint():
            raise UserError(
                "the checkpoint is within an epoch whose batches were others: going on, some sentences would "
                "be seen twice and others not at all.\n"
                "Resume it with the data.batches, the data.encoding and the number of devices of before, or "
                "train anew."
            )
        yield from batches[done:]

    def __len__(self) -> int:
        groups = len(self._groups(self.epoch))
        return groups if self.shuffle else len(range(self.rank, groups, self.num_replicas))

    def fingerprint(self) -> str:
        """A digest of the batches of this epoch on all ranks."""
        text = json.dumps([self.num_replicas, self._groups(self.epoch)])
        return hashlib.sha256(text.encode()).hexdigest()

    def plan(self, epoch: int) -> list[list[int]]:
        """The batches of this rank in an epoch, in order."""
        groups = self._groups(epoch)
        if not self.shuffle:
            return groups[self.rank :: self.num_replicas]
        return [group[self.rank :: self.num_replicas] for group in groups]

    def _groups(self, epoch: int) -> list[list[int]]:
        """The groups of an epoch, in order: with `shuffle` of a batch for each rank, else of one."""
        if self._plan is None or (self.shuffle and self._plan[0] != epoch):
            self._plan = epoch, self._compose(epoch)
        return self._plan[1]

    def _compose(self, epoch: int) -> list[list[int]]:
        world = self.num_replicas
        if not self.shuffle:
            groups, _ = self._group(np.argsort(-self.lengths, kind="stable"), world=1)
            if len(groups) < world:  # so that no rank is without a batch
                groups = [[index] for group in groups for index in group]
            return groups
        if self._first is None:
            self._first = self._draw(np.random.default_rng([self.seed, 0]))
        generator = np.random.default_rng([self.seed, epoch])
        for _ in range(ATTEMPTS):
            groups = self._draw(generator)
            if self._adjust(groups, len(self._first)):
                break
        else:
            groups = self._first  # in another order
        assert len(groups) == len(self._first), "epochs differ in their number of batches"
        order = generator.permutation(len(groups))
        return [groups[index] for index in order]

    def _draw(self, generator: np.random.Generator) -> list[list[int]]:
        """Draws an epoch's groups, each of at least one passage per rank."""
        order = generator.permutation(len(self.lengths))
        pool = POOL * self._typical_batch() * self.num_replicas
        groups: list[list[int]] = []
        rest: list[int] = []  # passages at the end of a pool, fewer than the ranks
        for begin in range(0, len(order), pool):
            part = np.append(order[begin : begin + pool], np.array(rest, dtype=order.dtype))
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            more, rest = self._group(part, world=self.num_replicas)
            groups += more
        self._add_rest(rest, groups)
        return groups

    def _add_rest(self, rest: list[int], groups: list[list[int]]) -> None:
        """Adds the last passages, fewer than the ranks, as a group filled up from the largest groups."""
        while 0 < len(rest) < self.num_replicas:
            largest = max(groups, key=len)
            if len(largest) == self.num_replicas:  # no group can spare one: each joins where it costs least
                for index in rest:
                    min(groups, key=lambda group: self._load([*group, index])).append(index)
                return
            rest.append(largest.pop())
        if rest:
            groups.append(sorted(rest, key=lambda index: -int(self.lengths[index])))

    def _typical_batch(self) -> int:
        if self.tokens_per_batch is None:
            return self.batch_size
        return max(1, round(self.tokens_per_batch / float(self.lengths.mean())))

    def _group(self, order: NDArray[np.int64], *, world: int) -> tuple[list[list[int]], list[int]]:
        """Splits passages, longest first, into groups of one batch per rank.

        The passage at index `i` of a group goes to rank `i % world`, so a group is full when the rank whose
        turn it is has no room.

        Returns:
            The groups, and the remaining passages, fewer than the ranks.
        """
        groups: list[list[int]] = []
        group: list[int] = []
        rows = np.zeros(world, dtype=np.int64)  # of each rank so far
        for index in order.tolist():
            rank = len(group) % world
            if len(group) >= world and self._is_full(len(group) // world, rows[rank], group[rank], index):
                groups.append(group)
                group, rank = [], 0
                rows[:] = 0
            group.append(index)
            rows[rank] += self.rows[index]
        if len(group) < world:
            return groups, group
        return [*groups, group], []

    def _is_full(self, size: int, rows: int, longest: int, index: int) -> bool:
        """Whether a batch of `size` passages and `rows` rows, the longest given, has no room for one more."""
        if self.tokens_per_batch is None:
            return size >= self.batch_size
        return bool((rows + self.rows[index]) * self.lengths[longest] > self.tokens_per_batch)

    def _load(self, group: list[int]) -> int:
        """The size of a group's largest batch, in the limit's unit: passages or padded sub-tokens."""
        parts = [group[rank :: self.num_replicas] for rank in range(self.num_replicas)]
        if self.tokens_per_batch is None:
            return max(map(len, parts))
        return max(int(self.rows[part].sum() * self.lengths[part].max(initial=0)) for part in parts)

    def _adjust(self, groups: list[list[int]], count: int) -> bool:
        """Splits the largest groups, or joins the smallest, until there are `count`; false if it cannot."""
        world = self.num_replicas
        while len(groups) < count:
            largest = max(groups, key=len)
            half = world * (len(largest) // (2 * world))  # a multiple: each rank's part is split
            if not half:
                return False
            groups.remove(largest)
            groups += [largest[:half], largest[half:]]
        while len(groups) > count:
            first, second = sorted(groups, key=self._load)[:2]
            both = sorted(first + second, key=lambda index: -int(self.lengths[index]))
            if self.tokens_per_batch is None or self._load(both) > self.tokens_per_batch:
                return False
            groups.remove(first)
            groups.remove(second)
            groups.append(both)
        return True


class RepeatedBatches(LengthGroupedSampler, SequentialSampler):  # type: ignore[misc]
    """The first epoch's batches in every epoch, for `trainer.overfit_batches`.

    Lightning then replaces every sampler that is not sequential by its own, which yields single indices.
    """

    def set_epoch(self, epoch: int) -> None:
        """Has no effect."""
