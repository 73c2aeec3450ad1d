"""Entities of a data set by their words: how each form is annotated, and where it is not."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ner_lightning.data.schemes import OUTSIDE, UNKNOWN, Span
from ner_lightning.data.sentence import Sentence

UNANNOTATED = "unannotated"
OTHER_BOUNDARIES = "other boundaries"
LONGEST = 6  # words of a form that is searched for in the text
Words = tuple[str, ...]


class Use(NamedTuple):
    """How a form is annotated in a split.

    Attributes:
        reading: the entity type, `unannotated`, or `other boundaries`.
        split: the split.
    """

    reading: str
    split: str


class Uses:
    """How often, and where first: the index of the sentence and the first word."""

    __slots__ = ("count", "sentence", "start")

    def __init__(self, sentence: int, start: int) -> None:
        self.count, self.sentence, self.start = 1, sentence, start


Forms = dict[Words, dict[Use, Uses]]


def forms(
    splits: Mapping[str, Sequence[Sentence]], annotated: Mapping[str, Sequence[Sequence[Span]]]
) -> Forms:
    """The words of all entities, and how they are annotated wherever they occur.

    An occurrence that no entity covers is `unannotated`, or has `other boundaries` if an entity has some of
    its words. Occurrences within a longer entity are not counted. Forms without a letter and those of more
    than 6 words are not searched for. Nor is one word in lower case counted as unannotated where that is its
    more frequent use: it is a word of the language, such as "may". Untagged sentences are left out.

    Args:
        splits: the sentences of each split.
        annotated: their entities.
    """
    made: Forms = {}
    for split, sentences in splits.items():
        known: dict[str, Use] = {}  # one object for each type
        for index, (sentence, own) in enumerate(zip(sentences, annotated[split], strict=True)):
            for type_, start, end in own:
                use = known.get(type_) or known.setdefault(type_, Use(type_, split))
                _count(made.setdefault(sentence.words[start:end], {}), use, index, start)
    lengths: dict[str, list[int]] = defaultdict(list)
    for form in made:
        if len(form) <= LONGEST and _has_letter(form) and len(form) not in lengths[form[0]]:
            lengths[form[0]].append(len(form))
    for split, sentences in splits.items():
        _search(made, lengths, split, sentences, annotated[split])
    for form, uses in made.items():
        if len(form) == 1 and form[0].islower() and any(use.reading == UNANNOTATED for use in uses):
            _forget_common(uses)
    return made


def _count(uses: dict[Use, Uses], use: Use, index: int, start: int) -> None:
    known = uses.get(use)
    if known is None:
        uses[use] = Uses(index, start)
    else:
        known.count += 1


def _has_letter(form: Words) -> bool:
    return any(map(str.isalpha, "".join(form)))


def _search(
    made: Forms,
    lengths: Mapping[str, Sequence[int]],
    split: str,
    sentences: Sequence[Sentence],
    annotated: Sequence[Sequence[Span]],
) -> None:
    """Counts the forms where they are no entities; untagged sentences tell nothing about that."""
    unannotated, other = Use(UNANNOTATED, split), Use(OTHER_BOUNDARIES, split)
    for index, sentence in enumerate(sentences):
        words, tags = sentence.words, sentence.tags
        if tags is None:
            continue
        for start in [at for at, word in enumerate(words) if word in lengths]:
            for length in lengths[words[start]]:
                end = start + length
                if end > len(words) or (length == 1 and tags[start] != OUTSIDE):
                    continue  # too long, covered, or unknown
                if UNKNOWN in tags[start:end]:
                    continue  # nobody has said that it is none
                uses = made.get(words[start:end])
                if uses is None:
                    continue
                covering = _covering(annotated[index], start, end)
                if covering is not None and _has_letter(words[start:end]):
                    _count(uses, other if covering else unannotated, index, start)


def _covering(entities: Sequence[Span], start: int, end: int) -> bool | None:
    """Whether entities have some of these words; None if one has them all."""
    some = False
    for _, first, after in entities:
        if first < end and start < after:
            if first <= start and end <= after:
                return None
            some = True
    return some


def _forget_common(uses: dict[Use, Uses]) -> None:
    outside = [use for use in uses if use.reading == UNANNOTATED]
    if 2 * sum(uses[use].count for use in outside) > sum(each.count for each in uses.values()):
        for use in outside:
            del uses[use]
