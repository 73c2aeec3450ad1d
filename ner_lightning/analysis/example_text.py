"""A text to try a tagger with: a sentence of the bundled sample's predictions, or one that fits its types."""

import re
from collections.abc import Sequence
from typing import Any

from ner_lightning.analysis.experiment import Experiment
from ner_lightning.analysis.rows import Row, read_predictions
from ner_lightning.data.running_text import from_text
from ner_lightning.data.sources import is_bundled

PERSONS = frozenset(("per", "pers", "person", "persons", "people", "persname"))
_PLACES = {"loc", "location", "gpe", "place", "city", "country", "geo-loc", "norp"}
_NEWS = PERSONS | _PLACES | {"org", "organization", "organisation", "corporation", "company", "group", "misc"}
_MEDICINE = {"drug", "chemical", "disease", "medication", "problem", "treatment", "symptom", "condition"}
_BIOLOGY = {"gene", "protein", "dna", "rna", "cell_line", "cell_type", "species", "gene_or_gene_product"}
# Made up; each for taggers that predict one of these types.
_MADE = (
    (_NEWS, "Vera Holt left Lima on Monday to join the Red Cross in Geneva."),
    (_MEDICINE, "Aspirin relieves headaches, but together with ibuprofen it may cause gastric ulcers."),
    (_BIOLOGY, "In human T cells, mutations of BRCA1 and p53 reduce the repair of DNA."),
)
_LENGTH = range(8, 25)  # words of a sentence to show
_NO_SPACE_BEFORE = re.compile(r" (?=[.,;:!?)%]|'s\b|n't\b)")
_NO_SPACE_AFTER = re.compile(r"(?<=\() ")


def made_text(types: Sequence[str]) -> str | None:
    """A made-up sentence with entities of some of these types; None if there is none that fits."""
    names = {name.lower() for name in types}
    return next((text for fits, text in _MADE if names & fits), None)


def public_example(run: Experiment) -> dict[str, Any] | None:
    """A sentence of a run's predictions that anybody may read, and its entities, all of them right.

    Returns:
        `text`, and `entities` with `text` and `label`; None unless all data are the bundled sample.
    """
    if not is_bundled(run.data):
        return None
    file = run.files.get("test") or next(iter(run.files.values()))
    rows = [row for row in read_predictions(file).rows if _is_fit(row)]
    row = max(rows, key=lambda row: len({span.type for span in row.gold}), default=None)
    if row is None:
        return None
    entities = [{"text": running(row.words[s.start : s.end]), "label": s.type} for s in row.gold]
    return {"text": running(row.words), "entities": entities}


def running(words: Sequence[str]) -> str:
    """Words as running text."""
    return _NO_SPACE_AFTER.sub("", _NO_SPACE_BEFORE.sub("", " ".join(words)))


def _is_fit(row: Row) -> bool:
    """Whether a sentence is as predicted, short, and the same words when it is read as running text."""
    right = len(row.words) in _LENGTH and bool(row.gold) and row.gold == row.predicted
    return right and from_text(running(row.words)).words == [list(row.words)]
