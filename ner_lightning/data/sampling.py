"""The order of batches: sentences of like length together, dealt out to ranks."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler

from ner_lightning.data.encoding import Encoded

# Sentences are sorted by length within pools of this many batches: large enough for little padding,
# small enough that an epoch's batches share next to nothing with the last epoch's.
POOL = 64


class LengthGroupedSampler(DistributedSampler[list[int]]):
    """Yields lists of positions: one batch each, of sentences of like length.

    It is handed to a DataLoader as `sampler` with `batch_size=None`. Being a DistributedSampler, it is
    left alone by Lightning and told of each epoch. A group of neighbours in length is dealt out to all
    ranks, so ranks have equal numbers of steps and steps of equal cost.

    Args:
        passages: what is sampled from; a passage is a sentence, or several that are read together.
        batch_size: passages a batch and rank.
        tokens_per_batch: the most padded sub-tokens a batch and rank, instead of `batch_size`; a
            passage that exceeds it alone is a batch of its own.
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
        if not self.shuffle:
            groups = self._groups(np.argsort(-self.lengths, kind="stable"), share=1)
            if len(groups) < self.num_replicas:  # so that every rank has something to do
                groups = [[place] for group in groups for place in group]
            return groups[self.rank :: self.num_replicas]
        draw = np.random.default_rng([self.seed, epoch])
        order = draw.permutation(len(self.lengths))
        pool = POOL * self._typical_batch() * self.num_replicas
        groups = []
        for begin in range(0, len(order), pool):
            part = order[begin : begin + pool]
            groups += self._groups(
                part[np.argsort(-self.lengths[part], kind="stable")], share=self.num_replicas
            )
        if len(groups[-1]) < self.num_replicas and len(groups) > 1:
            groups[-2] += groups.pop()  # else some rank would lack a step
        turns = draw.permutation(len(groups))
        return [groups[turn][self.rank :: self.num_replicas] for turn in turns]

    def _typical_batch(self) -> int:
        if self.tokens_per_batch is None:
            return self.batch_size
        return max(1, round(self.tokens_per_batch / float(self.lengths.mean())))

    def _groups(self, order: NDArray[np.int64], share: int) -> list[list[int]]:
        """Cuts positions, longest first, into groups of `share` batches."""
        if self.tokens_per_batch is None:
            size = self.batch_size * share
            return [order[i : i + size].tolist() for i in range(0, len(order), size)]
        groups: list[list[int]] = []
        rows = 0
        for place in order.tolist():
            rows += int(self.rows[place])
            width = int(self.lengths[groups[-1][0]]) if groups else 0
            if groups and (len(groups[-1]) < share or -(-rows // share) * width <= self.tokens_per_batch):
                groups[-1].append(place)
            else:
                groups.append([place])
                rows = int(self.rows[place])
        return groups


class _Sized(Dataset[None]):
    """What DistributedSampler wants to know of a data set: its size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size
