"""Forms that are annotated in several ways, and so may be annotated wrongly somewhere."""

import math
from collections import Counter

from ner_lightning.analysis.data_entities import OTHER_BOUNDARIES, UNANNOTATED, Forms, Use, Uses, Words
from ner_lightning.analysis.findings import ROWS, SHOWN, DataView, Example, Finding, Level

FEWEST = 3  # occurrences of a form
TINY = 0.05  # share of other readings below which words that are no entity as a rule are not in doubt


def consistency(view: DataView, forms: Forms) -> Finding:
    """Forms whose annotation varies, the most doubtful first: by other readings, times entropy."""
    doubtful = sorted((form for form in forms if _doubt(forms[form])), key=lambda f: (-_doubt(forms[f]), f))
    splits = list(view.splits)
    rows = tuple(
        (" ".join(form), _readings(forms[form]), *(_readings(forms[form], split) for split in splits))
        for form in doubtful[:ROWS]
    )
    return Finding(
        "consistency",
        "Same words, different annotation",
        Level.LOOK,
        len(doubtful),
        f"These forms occur at least {FEWEST} times and have more than one annotation; unannotated means "
        "that no entity has the words, other boundaries that an entity has some of them. Many are ambiguous "
        "by nature. Look at the rare readings: what is annotated by mistake, or overlooked, teaches the "
        "model errors and makes scores too low.",
        ("form", "all", *splits),
        rows,
        tuple(_example(view, form, forms[form]) for form in doubtful[:SHOWN]),
    )


def _totals(uses: dict[Use, Uses], split: str | None = None) -> Counter[str]:
    totals: Counter[str] = Counter()
    for use, each in uses.items():
        if split in (None, use.split):
            totals[use.reading] += each.count
    return totals


def _doubt(uses: dict[Use, Uses]) -> float:
    """Occurrences with another reading than the most frequent one, times entropy in bits.

    0 if they are few and the words are no entity as a rule; an entity that is overlooked once counts.
    """
    if len(uses) == 1:
        return 0.0
    totals = _totals(uses)
    whole = sum(totals.values())
    usual, most = totals.most_common(1)[0]
    minority = whole - most
    if whole < FEWEST or (minority < TINY * whole and usual in (UNANNOTATED, OTHER_BOUNDARIES)):
        return 0.0
    return minority * sum(count / whole * math.log2(whole / count) for count in totals.values())


def _readings(uses: dict[Use, Uses], split: str | None = None) -> str:
    totals = _totals(uses, split)
    ordered = sorted(totals, key=lambda reading: (-totals[reading], reading))
    return ", ".join(f"{reading} {totals[reading]:,}" for reading in ordered)


def _example(view: DataView, form: Words, uses: dict[Use, Uses]) -> Example:
    """An occurrence with the rarest reading."""
    totals = _totals(uses)
    use = min(uses, key=lambda use: (totals[use.reading], use))
    first = uses[use]
    note = f"{' '.join(form)}: {use.reading} here; {_readings(uses)} in all"
    return view.example(use.split, first.sentence, first.start, first.start + len(form), note)
