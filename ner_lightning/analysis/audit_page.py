"""The page of an audit: the sentences whose gold tags are least probable, the most doubtful first."""

from collections.abc import Sequence
from typing import NamedTuple

from ner_lightning.analysis.mistakes import mistakes
from ner_lightning.analysis.render.blocks import Block, Cases, Fact, Facts, Heading, Table, Text, shown
from ner_lightning.analysis.rows import Row
from ner_lightning.data.schemes import Span, spans

LISTED = 30  # in the table
BROWSED = 500  # sentences in the browser of the page


class Doubt(NamedTuple):
    """A sentence of the training data, and what models that did not see it make of it.

    Attributes:
        location: where it is, as file:line.
        words: its words.
        gold: its gold tags.
        predicted: the most probable tags.
        margin: logarithm of how many times as probable the predicted tags are as the gold ones.
        document: index of its document.
    """

    location: str
    words: Sequence[str]
    gold: Sequence[str]
    predicted: Sequence[str]
    margin: float
    document: int

    @property
    def row(self) -> Row:
        """The sentence as a row of predictions."""
        gold, predicted = spans(self.gold), spans(self.predicted)
        same = sum(a == b for a, b in zip(self.gold, self.predicted, strict=True))
        return Row(self.words, gold, predicted, self.document, {}, same)


def audit_blocks(doubts: Sequence[Doubt], how: str) -> list[Block]:
    """The page.

    Args:
        doubts: all sentences, the most doubtful first.
        how: how the models were made, in a sentence.
    """
    rows = [doubt.row for doubt in doubts]
    found = [mistakes(row) for row in rows]
    differing = sum(map(bool, found))
    pairs = [(row, own) for row, own in zip(rows, found, strict=True) if own]
    types = sorted({span.type for row in rows for span in row.gold})
    blocks: list[Block] = [
        Heading(1, "Audit of the annotation"),
        Facts(
            [
                Fact(f"{len(doubts):,}", "sentences", ""),
                Fact(f"{differing:,}", "where the model disagrees", f"{differing / len(doubts):.1%}"),
            ]
        ),
        Text(
            f"{how} Sentences are ranked by the margin: the logarithm of how many times as probable the "
            "model's tags are as the gold ones. A large margin is a hint that the annotation is wrong, or "
            "that the sentence is unlike all others; look at it, it is no proof."
        ),
    ]
    if not differing:
        return blocks
    listed = [
        [doubt.location, f"{doubt.margin:.1f}", *_differences(doubt.row)]
        for doubt, own in zip(doubts, found, strict=True)
        if own
    ][:LISTED]
    return [
        *blocks,
        Table(
            f"The most doubtful: {len(listed):,} of {differing:,}",
            ["location", "margin", "annotated", "model"],
            listed,
            prose=True,
        ),
        Heading(2, "Sentences with mistakes"),
        Cases(pairs[:BROWSED], differing, types),
    ]


def _differences(row: Row) -> tuple[str, str]:
    correct = row.correct
    only_gold = [span for span in row.gold if span not in correct]
    only_model = [span for span in row.predicted if span not in correct]
    return _listed(row, only_gold), _listed(row, only_model)


def _listed(row: Row, entities: Sequence[Span]) -> str:
    return ", ".join(f"{span.type} {shown(row.text(span))}" for span in entities) or "no entity"
