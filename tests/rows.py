"""Rows of predictions, for tests of what is made from them."""

from ner_lightning.analysis.rows import Predictions, Row
from ner_lightning.data.schemes import spans


def row(gold, predicted, probability=None, words=None, document=0):
    """A line of a prediction file; every predicted entity has the same probability."""
    line = {
        "words": words or [f"w{i}" for i in range(len(gold))],
        "gold": gold,
        "predicted": predicted,
        "document": document,
    }
    if probability is not None:
        line["entities"] = [s._asdict() | {"marginal": probability} for s in spans(predicted)]
    return Row.of(line)


def predictions(rows, train=None, probabilities=True):
    return Predictions(rows, "marginal" if probabilities else None, train or {})
