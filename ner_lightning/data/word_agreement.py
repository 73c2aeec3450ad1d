"""Compares the words of annotated sentences with those that running text gives; no torch.

A tagger that learns from other words than `predict` finds is worse in use than in its test.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from ner_lightning.data.running_text import Offsets, words
from ner_lightning.data.schemes import spans
from ner_lightning.data.sentence import Sentence

LOOKED_AT = 2000  # sentences
EXAMPLES = 3
WITHIN_WORDS = "entities_within_words"  # their number, in run.json's description of a split
TOLERATED = 0.01  # share of words that may differ without a warning; CoNLL-2003 has 0.0009, WNUT-17 0.08

_ATTACHED_LEFT = re.compile(r"(?:[.,;:!?%)\]}’”»]|\.\.+|''|n['’]t|['’](?:s|m|d|re|ve|ll))", re.IGNORECASE)
_ATTACHED_RIGHT = frozenset("([{$£€“«#") | {"``"}
_QUOTES = frozenset("\"'")


class WordAgreement(NamedTuple):
    """How the words of sentences agree with those of their running text.

    Attributes:
        words: how many were compared.
        differing: how many running text does not give.
        examples: of the differing ones the most frequent, each with what running text gives.
    """

    words: int
    differing: int
    examples: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def share(self) -> float:
        """The share of words that differ, from 0 to 1."""
        return self.differing / self.words if self.words else 0.0


def word_agreement(sentences: Iterable[Sentence]) -> WordAgreement:
    """Writes each sentence as running text, splits that as `predict` does, and compares.

    A sentence of a text is compared with that text, in which an entity that begins or ends inside a word has
    split it.
    """
    count = 0
    differing: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for sentence in sentences:
        text, given = _text_of(sentence)
        found = words(text)
        count += len(given)
        for start, end in sorted(set(given) - set(found)):
            pieces = tuple(text[first:last] for first, last in found if first < end and start < last)
            differing[text[start:end], pieces] += 1
    return WordAgreement(
        count, sum(differing.values()), tuple(pair for pair, _ in differing.most_common(EXAMPLES))
    )


def warning(origin: str, sentences: Sequence[Sentence]) -> str | None:
    """What to say of training data, from its first sentences; None if its words agree with `predict`'s.

    Args:
        origin: the file or data set.
        sentences: the training sentences.
    """
    agreement = word_agreement(sentences[:LOOKED_AT])
    if agreement.share <= TOLERATED:
        return None
    which = "words here" if len(sentences) <= LOOKED_AT else f"words of its first {LOOKED_AT:,} sentences"
    shown = "; ".join(f"{word} gives {' '.join(found)}" for word, found in agreement.examples)
    way = (
        "Give predict words instead of text (--tokenized), or train on texts with the characters of "
        "entities, which are split alike."
    )
    if any(sentence.within is not None for sentence in sentences[:LOOKED_AT]):
        way = (
            "Entities that begin or end inside a word split it: check their offsets, or expand or drop such "
            "entities (data.files.misaligned)."
        )
    return (
        f"{origin}: in running text, predict finds other words than {agreement.share:.1%} of the {which} "
        f"({shown}).\n{way}"
    )


def entities_within_words(sentences: Iterable[Sentence]) -> int:
    """The number of entities of texts that begin or end inside a word of running text: predict finds none."""
    text, borders, count = "", frozenset[int](), 0
    for sentence in sentences:
        if sentence.within is None or not sentence.tags:
            continue
        if sentence.within.text != text:  # a text's sentences follow each other
            text = sentence.within.text
            borders = frozenset(chain.from_iterable(words(text)))
        offsets = sentence.within.offsets
        count += sum(
            not {offsets[span.start][0], offsets[span.end - 1][1]} <= borders for span in spans(sentence.tags)
        )
    return count


def not_found_in_use(count: int, gold: int) -> str:
    """What such entities mean for a score.

    Args:
        count: how many there are.
        gold: the number of gold entities.
    """
    return (
        f"{count:,} of {gold:,} gold entities begin or end inside a word of their text, where predict cannot "
        f"find them: its recall in use is at most {1 - count / gold:.4f}"
    )


def _text_of(sentence: Sentence) -> tuple[str, list[Offsets]]:
    """The running text of a sentence, and where its words are in it."""
    if sentence.within is None:
        return running_text(sentence.words)
    start, end = sentence.within.offsets[0][0], sentence.within.offsets[-1][1]
    return sentence.within.text[start:end], [(a - start, b - start) for a, b in sentence.within.offsets]


def running_text(tokens: Sequence[str]) -> tuple[str, list[Offsets]]:
    """The text that words were probably cut from, and where each is in it.

    Full stops, commas, closing brackets and contractions follow their word without a space, and words follow
    opening brackets; of straight quotes every second one closes.
    """
    parts: list[str] = []
    offsets: list[Offsets] = []
    length, glued, opened = 0, True, dict.fromkeys(_QUOTES, False)
    for token in tokens:
        closes = opened.get(token, False)
        if not (glued or closes or _ATTACHED_LEFT.fullmatch(token)):
            parts.append(" ")
            length += 1
        parts.append(token)
        offsets.append((length, length + len(token)))
        length += len(token)
        glued = token in _ATTACHED_RIGHT or (token in _QUOTES and not closes)
        if token in _QUOTES:
            opened[token] = not closes
    return "".join(parts), offsets
