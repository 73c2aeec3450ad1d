"""The order of batches: sentences of like length together, dealt out to ranks."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler, SequentialSampler

from ner_lightning.data.tokenization.encoding import Encoded

# Sentences are sorted by length within pools of this many batches: large enough for little padding,
# small enough that an epoch's batches share next to nothing with the last epoch's.
POOL = 64
# How often an epoch is composed anew where its number of batches cannot be made that of the first epoch.
ATTEMPTS = 8


class LengthGroupedSampler(DistributedSampler[list[int]]):
    """Yields lists of positions: one batch each, of sentences of like length.

    It is handed to a DataLoader as `sampler` with `batch_size=None`. Being a DistributedSampler, it is
    left alone by Lightning and told of each epoch. A group of neighbours in length is dealt out to all
    ranks, so ranks have equal numbers of steps and steps of equal cost. Every epoch has as many batches
    as the first: a trainer counts them once, and validates and ends its epochs by that count.

    Args:
        passages: what is sampled from; a passage is a sentence, or several that are read together.
        batch_size: passages a batch and rank.
        tokens_per_batch: the most padded sub-tokens a batch and rank, instead of `batch_size`. Only
            a passage that exceeds it alone does so, as a batch of its own (and, where passages are
            too few to give each rank one otherwise, a batch that takes one of the last passages).
        shuffle: recompose the batches every epoch; False goes through the data once in order of
            length, for evaluation: no position is repeated, and ranks may differ by one batch.
        seed: of the shuffling, the same on every rank.
        rank: this process's number among `world`.
        world: the number of processes.
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
        super().__init__(_Sized(len(passages)), world, rank, shuffle=shuffle, seed=seed)
        self.lengths = np.array([passage.longest for passage in passages])
        self.rows = np.array([len(passage.windows) for passage in passages])
        self.batch_size = batch_size
        self.tokens_per_batch = tokens_per_batch
        # How many batches of this epoch were done before an interruption; asked at its start.
        self.done: Callable[[], int] = int
        self._first: list[list[int]] | None = None  # the groups of the first epoch
        self._plan: tuple[int, list[list[int]]] | None = None

    def __iter__(self) -> Iterator[list[int]]:
        # A generator: Lightning asks for the iterator before it has restored where a run stopped,
        # so epoch and position are looked up only when the first batch is wanted.
        batches = self.plan(self.epoch)
        yield from batches[self.done() % len(batches) :]

    def __len__(self) -> int:
        return len(self.plan(self.epoch))

    def plan(self, epoch: int) -> list[list[int]]:
        """The batches of this rank in an epoch, in order."""
        if self._plan is None or (self.shuffle and self._plan[0] != epoch):
            self._plan = epoch, self._compose(epoch)
        return self._plan[1]

    def _compose(self, epoch: int) -> list[list[int]]:
        world = self.num_replicas
        if not self.shuffle:
            groups, _ = self._cut(np.argsort(-self.lengths, kind="stable"), world=1)
            if len(groups) < world:  # so that every rank has something to do
                groups = [[index] for group in groups for index in group]
            return groups[self.rank :: world]
        if self._first is None:
            self._first = self._draw(np.random.default_rng([self.seed, 0]))
        draw = np.random.default_rng([self.seed, epoch])
        for _ in range(ATTEMPTS):
            groups = self._draw(draw)
            if self._adjust(groups, len(self._first)):
                break
        else:
            groups = self._first  # in another order
        assert len(groups) == len(self._first), "epochs differ in their number of batches"
        turns = draw.permutation(len(groups))
        return [groups[turn][self.rank :: world] for turn in turns]

    def _draw(self, draw: np.random.Generator) -> list[list[int]]:
        """Composes an epoch's groups, each of at least one passage a rank."""
        order = draw.permutation(len(self.lengths))
        pool = POOL * self._typical_batch() * self.num_replicas
        groups: list[list[int]] = []
        short: list[int] = []  # the end of a pool, too few for all ranks
        for begin in range(0, len(order), pool):
            part = np.append(order[begin : begin + pool], np.array(short, dtype=order.dtype))
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            more, short = self._cut(part, world=self.num_replicas)
            groups += more
        self._complete(short, groups)
        return groups

    def _complete(self, short: list[int], groups: list[list[int]]) -> None:
        """Makes a group of passages that are fewer than the ranks, by taking some of the largest groups."""
        while 0 < len(short) < self.num_replicas:
            largest = max(groups, key=len)
            if (
                len(largest) == self.num_replicas
            ):  # no group has one to spare: each joins where it costs least
                for index in short:
                    min(groups, key=lambda group: self._load([*group, index])).append(index)
                return
            short.append(largest.pop())
        if short:
            groups.append(sorted(short, key=lambda index: -int(self.lengths[index])))

    def _typical_batch(self) -> int:
        if self.tokens_per_batch is None:
            return self.batch_size
        return max(1, round(self.tokens_per_batch / float(self.lengths.mean())))

    def _cut(self, order: NDArray[np.int64], *, world: int) -> tuple[list[list[int]], list[int]]:
        """Cuts passages, longest first, into groups of one batch a rank.

        The passage at place `p` of a group goes to rank `p % world`, so a group is full when the rank whose
        turn it is has no room.

        Returns:
            The groups, and the passages of a last one that has fewer than one a rank.
        """
        groups: list[list[int]] = []
        group: list[int] = []
        rows = np.zeros(world, dtype=np.int64)  # that each rank has so far
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
        """Whether one more passage exceeds a batch of `size` passages and `rows` rows, the longest named."""
        if self.tokens_per_batch is None:
            return size >= self.batch_size
        return bool((rows + self.rows[index]) * self.lengths[longest] > self.tokens_per_batch)

    def _load(self, group: list[int]) -> int:
        """The cost of a group's largest batch, in what the limit counts: passages or padded sub-tokens."""
        parts = [group[rank :: self.num_replicas] for rank in range(self.num_replicas)]
        if self.tokens_per_batch is None:
            return max(map(len, parts))
        return max(int(self.rows[part].sum() * self.lengths[part].max(initial=0)) for part in parts)

    def _adjust(self, groups: list[list[int]], count: int) -> bool:
        """Splits the largest groups, or joins the smallest, until there are `count`; whether it can."""
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

    Lightning then wants a sequential sampler and puts one of its own in the place of any other, which would
    yield single positions.
    """

    def set_epoch(self, epoch: int) -> None:
        """Stays at the first."""


class _Sized(Dataset[None]):
    """What DistributedSampler wants to know of a data set: its size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size
