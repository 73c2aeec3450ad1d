"""Splits sentences into parts: whole documents, near-duplicates together, entity types in proportion."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ner_lightning.data.near_duplicates import Groups, near_duplicates
from ner_lightning.data.schemes import OUTSIDE
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.stratification import LARGE, SIZE, Assignment, Unit
from ner_lightning.errors import UserError

WIDESPREAD = 20  # documents; a sentence in more of them is boilerplate, such as a copyright notice


@dataclass(frozen=True)
class Division:
    """Sentences divided into parts.

    Attributes:
        parts: indices of the sentences of each part, in the data's order.
        documents: how many documents there are; 1 if the sentences were divided one by one.
        units: how many groups of sentences were kept together and assigned to a part as a whole.
        duplicates: groups of near-duplicate sentences that were kept in one part.
        boilerplate: groups of near-duplicate sentences in so many documents that they were ignored.
    """

    parts: dict[str, list[int]]
    documents: int
    units: int
    duplicates: int
    boilerplate: int

    def summary(self) -> str:
        """One line on sizes and on what was kept together."""
        sizes = ", ".join(f"{name} {len(part):,}" for name, part in self.parts.items())
        whole = f"{self.documents:,} documents stay whole" if self.documents > 1 else "sentence by sentence"
        text = f"{sizes} sentences; {whole}; groups of near-duplicates kept in one part: {self.duplicates:,}"
        if self.boilerplate:
            text += f"; sentences that recur in many documents, and so in several parts: {self.boilerplate:,}"
        return f"{text}."


def divide(sentences: Sequence[Sentence], shares: Mapping[str, float], seed: int) -> Division:
    """Divides sentences into parts.

    Documents stay whole. If all sentences are of one document, each stands alone. Documents that share a
    near-duplicate sentence of at least 5 words stay together (see `near_duplicates`), unless it is
    boilerplate: in more than 20 documents (in small data, more than a tenth of them, and at least 3), or it
    would join more words than half of the largest part has (for single sentences: all of it).

    Entity types and words are divided in proportion by iterative stratification (Sechidis et al. 2011),
    with units of any size: types from the rarest on, each unit to the part that lacks its types most. A type
    in at least as many units as there are parts is in every part, wherever moving a unit can achieve it.

    Args:
        sentences: tagged in BIO2, or untagged.
        shares: the share of each part in the words, between 0 and 1; they add up to 1.
        seed: decides among equal choices; the same seed gives the same parts.

    Raises:
        UserError: a share is out of range, or there are fewer units than parts.

    Example:
        >>> pair = [Sentence(("a",), None, 0), Sentence(("b",), None, 0)]
        >>> sorted(map(len, divide(pair, {"train": 0.5, "test": 0.5}, seed=0).parts.values()))
        [1, 1]
    """
    _check(shares)
    documents = len({sentence.document for sentence in sentences})
    groups, duplicates, boilerplate = _together(sentences, max(shares.values()))
    if len(groups) < len(shares):
        unit = "document" if documents > 1 else "sentence"
        raise UserError(
            f"{len(sentences):,} sentences cannot be split into {len(shares)} parts: there are only "
            f"{len(groups)} {unit}s that share no sentences; give more data or fewer parts"
        )
    units = [Unit(group, _counts(sentences, group)) for group in groups]
    random.Random(seed).shuffle(units)
    # Large ones first, so that small ones even them out; those are not sorted.
    large = min(shares.values()) * sum(unit.counts[SIZE] for unit in units) / LARGE
    units.sort(key=lambda unit: -int(unit.counts[SIZE] / large).bit_length())
    assignment = Assignment(units, shares, large)
    assignment.run()
    parts: dict[str, list[int]] = {name: [] for name in shares}
    for each, part in zip(units, assignment.parts, strict=True):
        parts[part] += each.sentences
    ordered = {name: sorted(part) for name, part in parts.items()}
    return Division(ordered, documents, len(units), duplicates, boilerplate)


def _check(shares: Mapping[str, float]) -> None:
    for name, share in shares.items():
        if not 0 < share < 1:
            raise UserError(f"the share of {name} is {share:g}; give a number between 0 and 1, such as 0.1")
    if abs(sum(shares.values()) - 1) > 1e-6:
        listed = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise UserError(f"the shares add up to {sum(shares.values()):g}, not to 1 ({listed})")


def _counts(sentences: Sequence[Sentence], group: Iterable[int]) -> dict[str, int]:
    counts = {SIZE: 0}
    for index in group:
        counts[SIZE] += len(sentences[index].words)
        for tag in sentences[index].tags or ():
            if tag != OUTSIDE and tag[0] == "B":
                counts[tag[2:]] = counts.get(tag[2:], 0) + 1
    return counts


def _together(sentences: Sequence[Sentence], largest: float) -> tuple[list[list[int]], int, int]:
    """Indices of sentences that stay together; how many groups of near-duplicates did so, and did not."""
    documents = list(dict.fromkeys(sentence.document for sentence in sentences))
    number = {document: at for at, document in enumerate(documents)}
    several = len(documents) > 1
    owner = [number[s.document] if several else at for at, s in enumerate(sentences)]
    words = [0] * (len(documents) if several else len(sentences))
    for unit, sentence in zip(owner, sentences, strict=True):
        words[unit] += len(sentence.words)
    limit = max(2, min(WIDESPREAD, len(documents) // 10)) if several else len(sentences)
    room = largest * sum(words) * (0.5 if several else 1)
    groups = Groups(len(words))
    merged = ignored = 0
    clusters = (sorted({owner[i] for i in c}) for c in near_duplicates([s.words for s in sentences]))
    for cluster in sorted((c for c in clusters if len(c) > 1), key=lambda c: (len(c), c)):
        joined = {groups.first(unit) for unit in cluster}
        if len(cluster) > limit or (len(joined) > 1 and sum(words[unit] for unit in joined) > room):
            ignored += 1
            continue
        merged += 1
        total = sum(words[unit] for unit in joined)
        for unit in joined:
            groups.merge(cluster[0], unit)
        words[groups.first(cluster[0])] = total
    together: dict[int, list[int]] = defaultdict(list)
    for index, unit in enumerate(owner):
        together[groups.first(unit)].append(index)
    return list(together.values()), merged, ignored
