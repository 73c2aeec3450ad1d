"""Uncertainty sampling: chooses the texts to annotate next, about whose tags the model is least certain."""

import itertools
from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

from ner_lightning.data.near_duplicates import near_duplicates
from ner_lightning.data.readers.record import Record, check_usable, numbered
from ner_lightning.inference.bulk import reject_lines
from ner_lightning.inference.io.resumable import Totals
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.result import Tagged
from ner_lightning.system.progress import Throttle, stage

SPARE = 4  # times as many texts are remembered as are wanted, until near-duplicates fall out


class Uncertain(NamedTuple):
    """A tagged text.

    Attributes:
        margin: logarithm of how many times as probable its best tag sequence is as the second best; infinite
            if there is no second one. The smaller, the more uncertain.
        record: the text.
        tagged: its tags.
    """

    margin: float
    record: Record
    tagged: Tagged


def most_uncertain(
    tagger: NERTagger, blocks: Iterable[list[Record]], count: int, *, tokenized: bool, strict: bool
) -> tuple[list[Uncertain], str, Totals]:
    """Tags all texts; returns the most uncertain ones, in this order, rejects, and what was read.

    A text differs in one place between its best and second best tag sequence, so that the margin does not
    shrink with the text's length (Scheffer et al. 2001). Of near-duplicates only one is returned.

    Args:
        tagger: the tagger.
        blocks: the texts.
        count: how many to return.
        tokenized: words of texts are separated by white space alone.
        strict: stop at a record that cannot be tagged.

    Raises:
        DataError: a record cannot be tagged, and `strict`.
    """
    kept: list[Uncertain] = []
    records = texts = words = rejected = 0
    rejects = ""
    due = Throttle()
    for block in blocks:
        if strict:
            check_usable(block)
        rejects += reject_lines(block)
        usable = [(record, number) for record, number in numbered(block) if not record.reason]
        documents = (record.split(tokenized=tokenized) for record, _ in usable)
        for (record, _), tagged in zip(
            usable, tagger.tag(documents, [number for _, number in usable], n_best=2), strict=True
        ):
            words += len(tagged.tags)
            if not tagged.tags:
                continue
            kept.append(Uncertain(_margin(tagged), record, tagged))
            if len(kept) >= 2 * SPARE * count:
                kept = _ranked(kept, SPARE * count)
        records, texts, rejected = (
            records + len(block),
            texts + len(usable),
            rejected + len(block) - len(usable),
        )
        if due():
            stage(f"{texts:,} texts, {words:,} words tagged")
    chosen = _ranked(kept, count)
    stage(f"{texts:,} texts read; the {len(chosen):,} most uncertain are written, of near-duplicates one.")
    entities = sum(len(each.tagged.entities) for each in chosen)
    return chosen, rejects, Totals(records, len(chosen), words, entities, rejected)


def _margin(tagged: Tagged) -> float:
    paths = tagged.paths or ()
    return paths[0][1] - paths[1][1] if len(paths) > 1 else float("inf")


def _ranked(kept: list[Uncertain], count: int) -> list[Uncertain]:
    """The most uncertain ones, those that came first before others, and of near-duplicates one."""
    ranked = sorted(kept, key=lambda each: each.margin)
    return list(itertools.islice(_distinct(ranked), count))


def _distinct(ranked: list[Uncertain]) -> Iterator[Uncertain]:
    """The first of each group of near-duplicates, and of short texts that are the same but for case."""
    group_of = {
        index: number
        for number, group in enumerate(near_duplicates([each.tagged.words for each in ranked]))
        for index in group
    }
    seen: set[Hashable] = set()
    for index, each in enumerate(ranked):
        same = group_of.get(index, tuple(word.lower() for word in each.tagged.words))
        if same not in seen:
            seen.add(same)
            yield each
