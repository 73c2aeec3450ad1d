"""A split's predictions as rows of entities, from a run's JSONL or from bare CoNLL columns."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ner_lightning.data.readers import columns as conll
from ner_lightning.data.readers.column_layout import ends_in_scores
from ner_lightning.data.readers.jsonl import JSON_SUFFIXES
from ner_lightning.data.schemes import Span, spans
from ner_lightning.data.sentence import read_lines
from ner_lightning.errors import UserError

PROBABILITIES = ("marginal", "softmax_product")


class Row(NamedTuple):
    """One sentence.

    Attributes:
        words: its words.
        gold: the annotated entities, in order.
        predicted: the predicted ones, in order.
        document: index of its document; None if that is unknown.
        chances: the probability of each predicted entity; empty if unknown.
        right: how many words have the gold tag.
    """

    words: Sequence[str]
    gold: list[Span]
    predicted: list[Span]
    document: int | None
    chances: Mapping[Span, float]
    right: int

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "Row":
        """Reads a line of `predictions.SPLIT.jsonl`."""
        chances = {}
        for entity in line.get("entities", ()):
            name = next((name for name in PROBABILITIES if name in entity), None)
            if name is not None:
                chances[Span(entity["type"], entity["start"], entity["end"])] = float(entity[name])
        right = sum(a == b for a, b in zip(line["gold"], line["predicted"], strict=True))
        gold, predicted = spans(line["gold"]), spans(line["predicted"])
        return cls(line["words"], gold, predicted, line.get("document"), chances, right)

    def text(self, span: Span) -> str:
        """The words of an entity."""
        return " ".join(self.words[span.start : span.end])

    def chance(self, span: Span) -> float:
        """The probability of a predicted entity, 0 if it is unknown."""
        return self.chances.get(span, 0.0)


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
    def has_documents(self) -> bool:
        """Whether more than one document is told apart."""
        return len({row.document for row in self.rows}) > 1

    def missing(self) -> list[str]:
        """What cannot be said for want of data, each with its reason."""
        lacks = []
        if self.probability_name is None:
            lacks.append("calibration and likely annotation noise: the file has no probabilities")
        if not self.train:
            lacks.append("seen in training or not: there is no train_entities.json beside the file")
        if not self.has_documents:
            lacks.append("documents: the file tells no documents apart")
        return lacks


def read(file: Path, train: Mapping[str, Mapping[str, int]] | None = None) -> Predictions:
    """Reads `predictions.SPLIT.jsonl`, or CoNLL columns: word first, gold and predicted tag last.

    A number behind them in each row, as flair writes, is passed over.

    Args:
        file: the file; its name tells which of the two it is.
        train: surface forms of training, as `train_entities.json` has them.

    Raises:
        UserError: the file is missing, empty, or no file of predictions.
    """
    rows = _jsonl(file) if file.suffix.lower() in JSON_SUFFIXES else _columns(file)
    if not rows:
        raise UserError(f"{file} holds no sentence")
    name = None
    if any(row.chances for row in rows):
        first = file.read_text(encoding="utf-8")
        name = next(name for name in PROBABILITIES if f'"{name}"' in first)
    return Predictions(rows, name, train or {})


def _jsonl(file: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            row = Row.of(content)
            if len(row.words) != len(content["gold"]):
                raise ValueError("as many tags as words are needed")
        except (KeyError, TypeError, ValueError, UserError) as error:
            raise UserError(f"{file}:{number}: not a sentence with its predictions ({error})") from None
        rows.append(row)
    return rows


def _columns(file: Path) -> list[Row]:
    last = -2 if ends_in_scores(read_lines(file)) else -1
    gold = conll.read_conll(file, tag_column=last - 1)
    predicted = conll.read_conll(file, tag_column=last)
    documents = len({sentence.document for sentence in gold}) > 1
    return [
        Row.of(
            {
                "words": list(one.words),
                "gold": one.tags,
                "predicted": other.tags,
                "document": one.document if documents else None,
            }
        )
        for one, other in zip(gold, predicted, strict=True)
    ]
