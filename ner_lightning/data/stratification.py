"""Iterative stratification: units of sentences to parts, with entity types and words in proportion."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

ENOUGH = 10  # expected units of a type in the smallest part, above which no unit is reserved for it
LARGE = 50  # units of at least a 50th of the smallest part are assigned by size
SIZE = ""  # stands for the number of words among the types


class Unit(NamedTuple):
    """Sentences that stay together: their indices, and the numbers of their entities by type and of words."""

    sentences: list[int]
    counts: dict[str, int]


class Assignment:
    """Assigns units to parts (iterative stratification, Sechidis et al. 2011).

    Types are taken from the rarest on; each unit goes to the part that lacks its types most.

    Args:
        units: what is assigned, large ones first.
        shares: the share of each part, between 0 and 1.
        large: words from which on the size of a unit itself decides where it fits.

    Attributes:
        parts: the part of each unit, after `run`.
    """

    def __init__(self, units: Sequence[Unit], shares: Mapping[str, float], large: float) -> None:
        self.units, self.shares, self.large = units, shares, large
        self.parts = [""] * len(units)  # none yet
        self.total: dict[str, int] = defaultdict(int)
        self.having: dict[str, list[int]] = defaultdict(list)  # the units that have a type
        for index, unit in enumerate(units):
            for type_, count in unit.counts.items():
                self.total[type_] += count
                self.having[type_].append(index)
        self.counts = {part: dict.fromkeys(self.total, 0) for part in shares}
        self.numbers = {part: dict.fromkeys(self.total, 0) for part in shares}  # of units
        # The chi-square distance is the sum of (count - share * total)^2 / (share * total^2). Here are its
        # derivative, halfway to the counts with one more unit of mean size, and half its second derivative.
        self.curve = {
            part: {type_: 1 / (share * total * total) for type_, total in self.total.items()}
            for part, share in shares.items()
        }
        self.mean = {type_: total / len(self.having[type_]) for type_, total in self.total.items()}
        self.slope = {
            part: {type_: -2 / total + self.mean[type_] * curve[type_] for type_, total in self.total.items()}
            for part, curve in self.curve.items()
        }

    def run(self) -> None:
        """Assigns all units."""
        smallest = min(self.shares.values())
        types = sorted(self.having, key=lambda type_: (len(self.having[type_]), type_))
        for type_ in types:
            if len(self.having[type_]) * smallest < ENOUGH:
                self._reserve(type_)
        remaining = {type_: self._unassigned(type_) for type_ in types if type_ != SIZE}
        while remaining:
            rarest = min(remaining, key=lambda type_: (remaining[type_], type_))
            for index in self.having[rarest]:
                if not self.parts[index]:
                    self._assign(index, self._neediest(index))
            del remaining[rarest]
            remaining = {type_: self._unassigned(type_) for type_ in remaining}
        for index, part in enumerate(self.parts):
            if not part:
                self._assign(index, self._neediest(index))
        for type_ in types:
            self._repair(type_)

    def _unassigned(self, type_: str) -> int:
        return self.total[type_] - sum(counts[type_] for counts in self.counts.values())

    def _assign(self, index: int, part: str) -> None:
        for sign, where in ((-1, self.parts[index]), (1, part)):
            if where:
                counts, numbers = self.counts[where], self.numbers[where]
                slope, curve = self.slope[where], self.curve[where]
                for type_, count in self.units[index].counts.items():
                    counts[type_] += sign * count
                    numbers[type_] += sign
                    slope[type_] += sign * 2 * count * curve[type_]
        self.parts[index] = part

    def _neediest(self, index: int) -> str:
        """The part where a unit most reduces the distance of all counts from their shares.

        Small units are all taken to be of mean size: otherwise small parts would prefer short sentences.
        """
        best, least = "", 0.0
        counts = self.units[index].counts
        large = counts[SIZE] >= self.large
        for part, slope in self.slope.items():
            change = 0.0
            for type_, count in counts.items():
                change += count * slope[type_]
            if large:
                curve = self.curve[part]
                change += sum(n * (n - self.mean[type_]) * curve[type_] for type_, n in counts.items())
            if not best or change < least:
                best, least = part, change
        return best

    def _lacking(self, type_: str) -> Iterator[str]:
        """The parts without a type, smallest first, if it is in enough units for all."""
        if len(self.having[type_]) >= len(self.shares):
            for part in sorted(self.shares, key=lambda part: self.shares[part]):
                if not self.numbers[part][type_]:
                    yield part

    def _reserve(self, type_: str) -> None:
        """Gives a unit of the type to each part without it: one that fits, with what else the part lacks."""
        for part in self._lacking(type_):
            room = self.shares[part] * self.total[SIZE] - self.counts[part][SIZE]
            numbers = self.numbers[part]
            free = [index for index in self.having[type_] if not self.parts[index]]
            if free:
                counts = {index: self.units[index].counts for index in free}
                lacks = {index: sum(not numbers[other] for other in counts[index]) for index in free}
                self._assign(min(free, key=lambda i: (max(0, counts[i][SIZE] - room), -lacks[i])), part)

    def _repair(self, type_: str) -> None:
        """Moves a unit of the type into each part without it, from a part that has more of all its types."""
        for part in self._lacking(type_):
            movable = [
                index
                for index in self.having[type_]
                if all(self._spare(other, self.parts[index]) for other in self.units[index].counts)
            ]
            if movable:
                self._assign(min(movable, key=lambda index: self.units[index].counts[SIZE]), part)

    def _spare(self, type_: str, part: str) -> bool:
        return self.numbers[part][type_] > 1 or len(self.having[type_]) < len(self.shares)
