"""Entities by type, length, seen in training or not, and so on, each group with its scores."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ner_lightning.analysis.resampling import Counts, Interval, Sparse, intervals
from ner_lightning.analysis.rows import Predictions, Row
from ner_lightning.data.schemes import Span
from ner_lightning.metrics.from_counts import precision_recall
from ner_lightning.system.terminal import counted

SEEN = "seen in training"
LENGTH = "entity length"
SENTENCE = "sentence length"
CAPITALS = "capitalisation"
TYPE = "type"
UNSEEN = "none of its words"
CORRECT, PREDICTED, GOLD = range(3)
ERRORS = np.array([-2, 1, 1])  # false positives + false negatives = predicted + gold - 2 * correct

# Groups that have an order of their own.
ORDERS = {
    LENGTH: ("1 word", "2 words", "3 words", "over 3 words"),
    SENTENCE: ("1 to 5 words", "6 to 10 words", "11 to 20 words", "21 to 40 words", "over 40 words"),
    SEEN: (
        "as this type",
        "only as another type",
        "in other case",
        "all its words",
        "some of its words",
        UNSEEN,
    ),
}

Property = Callable[[Row, Span], str]


class Slice(NamedTuple):
    """The entities of one group.

    Attributes:
        name: the group's name.
        correct, predicted, gold: how many entities.
        precision, recall: of the group.
        f1: with its 95% interval over resampled sentences.
    """

    name: str
    correct: int
    predicted: int
    gold: int
    precision: float
    recall: float
    f1: Interval

    @property
    def errors(self) -> int:
        """False positives and false negatives."""
        return self.predicted + self.gold - 2 * self.correct


def properties(train: Mapping[str, Mapping[str, int]]) -> dict[str, Property]:
    """What entities are grouped by; seen in training or not only if training's entities are known."""
    groupings: dict[str, Property] = {
        TYPE: lambda row, span: span.type,
        LENGTH: lambda row, span: _words(span.end - span.start, longest=3),
        SENTENCE: lambda row, span: _range(len(row.words), (5, 10, 20, 40)),
        CAPITALS: lambda row, span: capitals(row.words[span.start : span.end]),
    }
    if train:
        groupings[SEEN] = Seen(train)
    return groupings


class Seen:
    """Groups entities by whether training had them.

    Args:
        train: how often each surface form is an entity of each type there.
    """

    def __init__(self, train: Mapping[str, Mapping[str, int]]) -> None:
        self._types: dict[str, set[str]] = defaultdict(set)
        for kind, surfaces in train.items():
            for surface in surfaces:
                self._types[surface].add(kind)
        self._lower = {surface.lower() for surface in self._types}
        self._words = {word for surface in self._types for word in surface.split(" ")}

    def __call__(self, row: Row, span: Span) -> str:
        """The group of an entity."""
        surface = row.text(span)
        types = self._types.get(surface)
        if types is not None:
            return "as this type" if span.type in types else "only as another type"
        if surface.lower() in self._lower:
            return "in other case"
        known = [word in self._words for word in row.words[span.start : span.end]]
        return "all its words" if all(known) else "some of its words" if any(known) else UNSEEN


def capitals(words: Sequence[str]) -> str:
    """How an entity is capitalised."""
    text = "".join(words)
    if not any(char.isalpha() for char in text):
        return "no letters"
    if text.lower() == text.upper():
        return "no case"  # as in Chinese and Arabic
    if text.isupper() and sum(map(str.isalpha, text)) > 1:
        return "all capitals"
    if text == text.lower():
        return "lower case"
    return "every word" if all(word[0].isupper() for word in words) else "mixed"


def _words(count: int, longest: int) -> str:
    return f"over {longest} words" if count > longest else counted(count, "word")


def _range(count: int, steps: Sequence[int]) -> str:
    low = 1
    for high in steps:
        if count <= high:
            return f"{low} to {high} words"
        low = high + 1
    return f"over {steps[-1]} words"


def grouped(predictions: Predictions, of: Property) -> dict[str, Sparse]:
    """Counts of each sentence's entities by group.

    Args:
        predictions: of a split with S sentences.
        of: names the group of an entity.
    """
    counts: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for index, row in enumerate(predictions.rows):
        for column, entities in ((GOLD, row.gold), (PREDICTED, row.predicted), (CORRECT, row.correct)):
            for span in entities:
                counts[of(row, span)][index][column] += 1
    return {
        name: Sparse(
            len(predictions.rows),
            np.fromiter(found, dtype=np.int64, count=len(found)),
            np.array(list(found.values()), dtype=np.int64),
        )
        for name, found in counts.items()
    }


def totals(predictions: Predictions) -> Counts:
    """Correct, predicted and gold entities of each sentence. *Shape:* (S, 3)."""
    return np.array(
        [(len(row.correct), len(row.predicted), len(row.gold)) for row in predictions.rows], dtype=np.int64
    )


def slices(groups: Mapping[str, Sparse], order: Sequence[str] = ()) -> list[Slice]:
    """Scores of each group, in the order given or by size."""
    return by_property({"": groups}, {"": order})[""]


def by_property(
    properties: Mapping[str, Mapping[str, Sparse]], orders: Mapping[str, Sequence[str]]
) -> dict[str, list[Slice]]:
    """Scores of each group of each property: drawn at once, since the draws take most of the time.

    Args:
        properties: for each property, counts of each of its groups.
        orders: the order of the groups of a property; those that it lacks follow by size.
    """
    ordered = {name: _ordered(groups, orders.get(name, ())) for name, groups in properties.items()}
    parts = [properties[name][group] for name, groups in ordered.items() for group in groups]
    f1 = iter(intervals(parts) if parts else [])
    return {
        name: [_slice(group, properties[name][group], next(f1)) for group in groups]
        for name, groups in ordered.items()
    }


def _ordered(groups: Mapping[str, Sparse], order: Sequence[str]) -> list[str]:
    names = [name for name in order if name in groups]
    return names + sorted(groups.keys() - set(names), key=lambda name: (-groups[name].total[GOLD], name))


def _slice(name: str, counts: Sparse, f1: Interval) -> Slice:
    correct, predicted, gold = map(int, counts.total)
    precision, recall = precision_recall(counts.total)
    return Slice(name, correct, predicted, gold, float(precision), float(recall), f1)


def worst_documents(predictions: Predictions, count: int) -> dict[str, Sparse]:
    """The documents with most false positives and false negatives; none without one, or without a name."""
    groups = grouped(predictions, lambda row, span: "" if row.document is None else str(row.document))
    errors = {name: int(counts.total @ ERRORS) for name, counts in groups.items() if name}
    worst = sorted((n for n in errors if errors[n]), key=lambda name: (-errors[name], name))[:count]
    return {name: groups[name] for name in worst}
