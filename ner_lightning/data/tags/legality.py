"""Counts tags that break their scheme, such as an I- that continues nothing."""

from collections.abc import Sequence
from itertools import pairwise

from ner_lightning.data.schemes import OUTSIDE, Scheme, split_tag


def illegal_tags(sequences: Sequence[Sequence[str]], scheme: Scheme) -> list[int]:
    """The number of tags in each sequence that break the scheme of the data set.

    Args:
        sequences: the tags of each sentence.
        scheme: the scheme, from `detect`. IOB1 also stands for BIO2 with errors: if a B- occurs that IOB1
            would not write, every I- that begins an entity is an error.
    """
    if scheme is Scheme.BIOES:
        return [_unclosed(tags) for tags in sequences]
    if scheme is Scheme.BIO2 or not any(
        tag[0] == "B" and split_tag(before)[1] != tag[2:]
        for tags in sequences
        for before, tag in pairwise((OUTSIDE, *tags))
    ):
        return [0] * len(sequences)
    return [
        sum(tag[0] == "I" and split_tag(before)[1] != tag[2:] for before, tag in pairwise((OUTSIDE, *tags)))
        for tags in sequences
    ]


def _unclosed(tags: Sequence[str]) -> int:
    """The number of tags of BIOES that leave an entity open, or continue none."""
    count = 0
    begun = ""  # the type of an entity that has no end yet
    for letter, type_ in map(split_tag, (*tags, OUTSIDE)):
        count += bool(begun) if letter in "BSO?" else begun != type_
        begun = type_ if letter in "BI" else ""
    return count
