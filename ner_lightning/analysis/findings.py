"""Finding: what a check of a data set reports, with a table, and examples that say where they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ner_lightning.data.schemes import Span
from ner_lightning.data.sentence import Sentence

SHOWN = 5  # examples of a finding
AROUND = 8  # words before and after what an example is about
ROWS = 30  # of a table
Cell = str | int
Location = Callable[[str, int], str]


class Level(StrEnum):
    """How much a finding matters: training is impossible, somebody should look, or nothing is amiss."""

    PROBLEM = "problem"
    LOOK = "look"
    FACT = "fact"


@dataclass(frozen=True)
class Example:
    """A part of a sentence.

    Attributes:
        location: file and line, or file and number of the sentence.
        words: the words around what it is about.
        entities: the annotated entities among these words, as indices of `words`.
        focus: what it is about, as indices of `words`: first word, and after the last.
        before, after: whether the sentence has more words before and after these.
        note: what to see in it.
    """

    location: str
    words: tuple[str, ...]
    entities: tuple[Span, ...]
    focus: tuple[int, int]
    before: bool = False
    after: bool = False
    note: str = ""

    def text(self) -> str:
        """In one line: location, words with entities in brackets, note."""
        words = list(self.words)
        for type_, start, end in self.entities:
            words[start] = f"[{words[start]}"
            words[end - 1] += f" {type_}]"
        dots = ["…"]
        line = " ".join([*(dots if self.before else []), *words, *(dots if self.after else [])])
        return f"{self.location}: {line}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        key: identifies the check; stable.
        title: a few words.
        level: how much it matters.
        count: how many sentences, entities, words or types it is about.
        text: what it means and what to do.
        head: names of the table's columns; empty if there is no table.
        rows: the table's cells.
        examples: up to 5.
    """

    key: str
    title: str
    level: Level
    count: int
    text: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    examples: tuple[Example, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields, with tables as rows with names."""
        made = asdict(self)
        made["level"] = str(self.level)
        made["rows"] = [dict(zip(self.head, row, strict=True)) for row in self.rows]
        made["examples"] = [
            asdict(example) | {"entities": [span._asdict() for span in example.entities]}
            for example in self.examples
        ]
        del made["head"]
        return made


@dataclass(frozen=True)
class DataView:
    """A data set with its entities, and where its sentences are.

    Attributes:
        splits: the sentences of each split.
        entities: the entities of each sentence of each split.
        location: says where a sentence is, from its split and its index.
    """

    splits: Mapping[str, Sequence[Sentence]]
    entities: Mapping[str, Sequence[Sequence[Span]]]
    location: Location

    def example(self, split: str, index: int, start: int = 0, end: int = 0, note: str = "") -> Example:
        """The words of a sentence around those from `start` to before `end`."""
        words = self.splits[split][index].words
        low, high = max(0, start - AROUND), min(len(words), max(end, start + 1) + AROUND)
        entities = tuple(
            Span(type_, first - low, last - low)
            for type_, first, last in self.entities[split][index]
            if low <= first and last <= high
        )
        return Example(
            self.location(split, index),
            tuple(words[low:high]),
            entities,
            (start - low, end - low),
            low > 0,
            high < len(words),
            note,
        )


def locations(splits: Mapping[str, Sequence[Sentence]], origins: Mapping[str, str]) -> Location:
    """Says where a sentence is: `file:line`, or file and number if the line is unknown.

    Args:
        splits: the sentences of each split.
        origins: the file of each split; the split's name stands for one that is missing.
    """

    def location(split: str, index: int) -> str:
        origin = origins.get(split, split)
        number = getattr(splits[split][index], "line", 0)
        return f"{origin}:{number}" if number else f"{origin}, sentence {index + 1:,}"

    return location
