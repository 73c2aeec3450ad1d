"""A split's predictions as rows of entities, from a run's JSONL or from bare CoNLL columns."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ner_lightning.analysis.row_checks import PROBABILITY_NAMES, check_line
from ner_lightning.data.readers.column_cells import DOCSTART, cells_of
from ner_lightning.data.readers.jsonl import JSON_SUFFIXES
from ner_lightning.data.readers.read_options import ReadOptions
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import Span, is_tag, spans
from ner_lightning.data.sentence import read_lines
from ner_lightning.errors import UserError

_NUMBER = re.compile(r"\d+(\.\d+)?(e-?\d+)?")
LEAST = 0.05  # the probability of a candidate


class Candidate(NamedTuple):
    """An entity that may be there, whether or not it is predicted.

    Attributes:
        span: the entity.
        probability: at least `LEAST`.
        priority: orders candidates that share words; with a CRF it is the probability.
    """

    span: Span
    probability: float
    priority: float


class Row(NamedTuple):
    """One sentence.

    Attributes:
        words: its words.
        gold: the gold entities, in order.
        predicted: the predicted entities, in order.
        document: index of its document; None if unknown.
        probabilities: the probability of each predicted entity; empty if unknown.
        correct_words: how many words have the gold tag.
        candidates: all entities of at least `LEAST`; None if the file has none.
        probability_name: what the probabilities are; None if there are none.
        sentence: its index in the split, where the file names it: it may have a part of the split.
    """

    words: Sequence[str]
    gold: list[Span]
    predicted: list[Span]
    document: int | None
    probabilities: Mapping[Span, float]
    correct_words: int
    candidates: Sequence[Candidate] | None = None
    probability_name: str | None = None
    sentence: int | None = None

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "Row":
        """Reads a line of `predictions.SPLIT.jsonl`."""
        entities = line.get("entities", ())
        name = next((name for name in PROBABILITY_NAMES for entity in entities if name in entity), None)
        probabilities = {
            Span(entity["type"], entity["start"], entity["end"]): float(entity[name])
            for entity in entities
            if name in entity
        }
        correct = sum(a == b for a, b in zip(line["gold"], line["predicted"], strict=True))
        gold, predicted = spans(line["gold"]), spans(line["predicted"])
        candidates = None
        if "candidates" in line:
            candidates = [
                Candidate(
                    Span(type_, start, end),
                    float(probability),
                    float(priority[0] if priority else probability),
                )
                for type_, start, end, probability, *priority in line["candidates"]
            ]
        document = line.get("document")
        index = line.get("sentence")
        index = index if isinstance(index, int) else None
        return cls(line["words"], gold, predicted, document, probabilities, correct, candidates, name, index)

    @property
    def correct(self) -> set[Span]:
        """Entities that are both gold and predicted: the true positives."""
        return set(self.gold) & set(self.predicted)

    def text(self, span: Span) -> str:
        """The words of an entity."""
        return " ".join(self.words[span.start : span.end])

    def probability(self, span: Span) -> float:
        """The probability of a predicted entity, 0 if unknown."""
        return self.probabilities.get(span, 0.0)


@dataclass(frozen=True)
class Predictions:
    """The predictions of a split.

    Attributes:
        rows: its sentences, in the data's order.
        probability_name: what the entities' probabilities are; None if there are none.
        train: how often each surface form is an entity of each type in training; empty if unknown.
    """

    rows: list[Row]
    probability_name: str | None
    train: Mapping[str, Mapping[str, int]]

    @property
    def types(self) -> list[str]:
        """The entity types: in training's order, or else by frequency in gold and then by name."""
        counts: dict[str, int] = dict.fromkeys(self.train, 0)
        for row in self.rows:
            for span in row.gold:
                counts[span.type] = counts.get(span.type, 0) + 1
            for span in row.predicted:
                counts.setdefault(span.type, 0)
        known = list(self.train)
        return known + sorted(counts.keys() - set(known), key=lambda name: (-counts[name], name))

    @property
    def untrained(self) -> dict[str, int]:
        """The number of gold entities of each type that training has none of; empty if that is unknown."""
        gold = Counter(span.type for row in self.rows for span in row.gold)
        seen = {name for name, surfaces in self.train.items() if surfaces}
        return {name: gold[name] for name in self.types if seen and gold[name] and name not in seen}

    @property
    def has_documents(self) -> bool:
        """Whether the rows belong to more than one document."""
        return len({row.document for row in self.rows}) > 1

    def missing(self) -> list[str]:
        """Analyses that the data does not allow, each with the reason."""
        missing = []
        if self.probability_name is None:
            candidates = any(row.candidates is not None for row in self.rows)
            why = "no entity was predicted" if candidates else "the file has no probabilities"
            missing.append(f"calibration and likely annotation noise: {why}")
        if not self.train:
            missing.append("seen in training or not: there is no train_entities.json beside the file")
        if not self.has_documents:
            missing.append("documents: the file does not separate documents")
        return missing


def read_predictions(file: Path, train: Mapping[str, Mapping[str, int]] | None = None) -> Predictions:
    """Reads `predictions.SPLIT.jsonl`, or CoNLL columns: word first, gold and predicted tag last.

    A score in a last column, as flair writes it, is ignored.

    Args:
        file: the file; its suffix decides the format.
        train: surface forms of training, as `train_entities.json` has them.

    Raises:
        UserError: the file is missing, empty, or holds no predictions.
    """
    rows = _jsonl(file) if file.suffix.lower() in JSON_SUFFIXES else _columns(file)
    if not rows:
        raise UserError(f"{file} holds no sentence")
    name = next((row.probability_name for row in rows if row.probability_name), None)
    return Predictions(rows, name, train or {})


def _jsonl(file: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            check_line(content)
            row = Row.of(content)
            if len(row.words) != len(content["gold"]):
                raise ValueError("as many tags as words are needed")
        except (KeyError, TypeError, ValueError, UserError) as error:
            raise UserError(f"{file}:{number}: not a sentence with its predictions ({error})") from None
        rows.append(row)
    return rows


def _columns(file: Path) -> list[Row]:
    last = -2 if _ends_in_scores(read_lines(file)) else -1
    gold, predicted = (
        read_sentences(file, ReadOptions("conll", tags_column=str(column))) for column in (last - 1, last)
    )
    has_documents = len({sentence.document for sentence in gold}) > 1
    return [
        Row.of(
            {
                "words": list(sentence.words),
                "gold": sentence.tags,
                "predicted": tagged.tags,
                "document": sentence.document if has_documents else None,
            }
        )
        for sentence, tagged in zip(gold, predicted, strict=True)
    ]


def _ends_in_scores(lines: Iterable[str]) -> bool:
    """Whether each row is word, two tags and a number, as flair writes its predictions."""
    rows = [row for row in (cells_of(line, tabs=False) for line in lines) if row and row[0] != DOCSTART]
    return bool(rows) and all(
        len(row) > 3 and _NUMBER.fullmatch(row[-1]) and is_tag(row[-2]) and is_tag(row[-3]) for row in rows
    )
