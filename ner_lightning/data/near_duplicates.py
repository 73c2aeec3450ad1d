"""Near-duplicate sentences: those that share most of their triples of words; without torch."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

SHORTEST = 5  # words; shorter sentences, such as "He agreed .", occur twice by chance
COMPARED = 50  # neighbours, where very many sentences share a rare triple: their number would be squared
_DIGIT = re.compile("[1-9]")

Ids = NDArray[np.int64]


def normalised(words: Sequence[str]) -> str:
    """The words in lower case, with each digit from 1 to 9 replaced by 0, separated by spaces."""
    return _DIGIT.sub("0", " ".join(words).lower())


class Groups:
    """Disjoint groups of the numbers from 0 to `size` - 1, which can be merged (union-find)."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def first(self, item: int) -> int:
        """The smallest member of an item's group."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    def merge(self, one: int, other: int) -> None:
        """Makes one group of two."""
        low, high = sorted((self.first(one), self.first(other)))
        self._parent[high] = low

    def members(self) -> list[list[int]]:
        """The members of each group, in ascending order."""
        groups: dict[int, list[int]] = defaultdict(list)
        for item in range(len(self._parent)):
            groups[self.first(item)].append(item)
        return list(groups.values())


def near_duplicates(sentences: Sequence[Sequence[str]]) -> list[list[int]]:
    """Groups of sentences that are equal or nearly so.

    Two sentences of at least 5 words are near-duplicates if they are equal after `normalised`, or if the sets
    of their triples of consecutive words have a Jaccard similarity of at least 0.8. A group also holds the
    near-duplicates of its members' near-duplicates.

    All such pairs are compared, except where more than 50 sentences share a triple that is rare in each of
    them: there, each is compared with 50 others of similar length.

    Args:
        sentences: the words of each sentence.

    Returns:
        the indices of each group of two sentences or more, in ascending order.
    """
    equal: dict[str, list[int]] = defaultdict(list)
    for index, words in enumerate(sentences):
        if len(words) >= SHORTEST:
            equal[normalised(words)].append(index)
    alike = Groups(len(equal))
    for one, other in _similar(list(equal), alike):
        alike.merge(one, other)
    listed = list(equal.values())
    joined = (sorted(chain.from_iterable(listed[i] for i in group)) for group in alike.members())
    return sorted(group for group in joined if len(group) > 1)


def _similar(texts: Sequence[str], alike: Groups) -> Iterator[tuple[int, int]]:
    """Pairs of different texts that are near-duplicates; those already in one group are left out."""
    if not texts:
        return
    owners, triples, frequencies, sizes = _shared_triples(texts)
    # Prefix filter: with all triples in one order, two sets whose similarity is 0.8 share one of their first
    # size - ceil(0.8 size) + 1. Rare triples come first; those of one text alone are shared with none.
    prefix = sizes - (4 * sizes + 4) // 5 + 1
    prefix -= sizes - np.bincount(owners, minlength=len(texts))
    candidate = (prefix > 0)[owners]
    owners, triples, frequencies = owners[candidate], triples[candidate], frequencies[candidate]
    order = np.lexsort((triples, frequencies, owners))
    owners, triples = owners[order], triples[order]
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    rank = np.arange(len(owners)) - np.repeat(starts, np.diff(starts, append=len(owners)))
    first = rank < prefix[owners]
    sharing: dict[int, list[int]] = defaultdict(list)
    for owner, triple in zip(owners[first].tolist(), triples[first].tolist(), strict=True):
        sharing[triple].append(owner)
    parts = np.split(triples, starts[1:])
    sets = {text: set(part.tolist()) for text, part in zip(owners[starts].tolist(), parts, strict=False)}
    size = sizes.tolist()
    for group in sharing.values():
        group.sort(key=lambda text: (size[text], text))
        for at, one in enumerate(group):
            for other in group[at + 1 : at + 1 + COMPARED]:
                if 4 * size[other] > 5 * size[one]:
                    break  # the smaller set cannot be 0.8 of the union
                if alike.first(one) != alike.first(other):
                    shared = len(sets[one] & sets[other])
                    if 5 * shared >= 4 * (size[one] + size[other] - shared):
                        yield one, other


def _shared_triples(texts: Sequence[str]) -> tuple[Ids, Ids, Ids, Ids]:
    """The triples of consecutive words that two texts or more have.

    Returns:
        for N triples of texts, each once in a text: the index of the text, the number of the triple and how
        many texts have it; and for each text, how many different triples it has in all. *Shape:* (N,), (N,),
        (N,) and (texts,)
    """
    numbers, owners = _triples(texts)
    order = np.argsort(numbers)
    numbers, owners = numbers[order], owners[order]
    new = np.diff(numbers, prepend=numbers[:1] - 1) != 0
    repeated = ~new
    repeated[:-1] |= ~new[1:]
    numbers, owners, alone = numbers[repeated], owners[repeated], owners[~repeated]
    order = np.lexsort((owners, numbers))
    numbers, owners = numbers[order], owners[order]
    new = np.diff(numbers, prepend=numbers[:1] - 1) != 0
    distinct = new | (np.diff(owners, prepend=-1) != 0)
    ids, owners = np.cumsum(new)[distinct], owners[distinct]
    frequencies = np.bincount(ids)[ids]
    sizes = np.bincount(alone, minlength=len(texts)) + np.bincount(owners, minlength=len(texts))
    several = frequencies > 1
    return owners[several], ids[several], frequencies[several], sizes


def _triples(texts: Sequence[str]) -> tuple[Ids, Ids]:
    """A number for each triple of consecutive words, and the index of its text. *Shape:* (N,) each."""
    vocabulary: defaultdict[str, int] = defaultdict()
    vocabulary.default_factory = vocabulary.__len__  # a new word gets the next number
    words = np.array(list(map(vocabulary.__getitem__, " ".join(texts).split(" "))), dtype=np.int64)
    lengths = np.fromiter((text.count(" ") + 1 for text in texts), np.int64, len(texts))
    text = np.repeat(np.arange(len(texts)), lengths)
    # Beyond 2 million different words numbers wrap around, and the odd two triples may share one.
    size = np.int64(len(vocabulary))
    numbers = (words[:-2] * size + words[1:-1]) * size + words[2:]
    within = text[2:] == text[:-2]
    return numbers[within], text[2:][within]
