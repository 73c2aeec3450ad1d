"""Partly annotated sentences: the tag `?` stands for a tag that is unknown; only training can use it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ner_lightning.data.schemes import OUTSIDE, UNKNOWN
from ner_lightning.data.sentence import Sentence
from ner_lightning.errors import UserError


def unknown_words(sentences: Iterable[Sentence]) -> int:
    """The number of words whose tag is unknown."""
    return sum(sentence.tags.count(UNKNOWN) for sentence in sentences if sentence.tags)


def only_entities_known(sentences: Iterable[Sentence]) -> list[Sentence]:
    """The sentences with `?` where they have O: words outside of marked entities may be in one."""
    return [
        replace(sentence, tags=tuple(UNKNOWN if tag == OUTSIDE else tag for tag in sentence.tags or ()))
        for sentence in sentences
    ]


def partly_annotated(split: str, origin: str) -> UserError:
    """The mistake of scoring a part of a file in which entities are not marked."""
    return UserError(
        f"{origin} is of a file in which entities are left unmarked (data.files.unannotated: unknown);\n"
        f"a score would count them as mistakes: name a fully annotated file as data.{split}"
    )


def check_known(split: str, origin: str, sentences: Sequence[Sentence]) -> None:
    """Checks that all tags of a split that is scored are known.

    Raises:
        UserError: one is not; a score against unknown tags means nothing.
    """
    partly = [sentence for sentence in sentences if sentence.tags and UNKNOWN in sentence.tags]
    if not partly:
        return
    first = partly[0]
    index = (first.tags or ()).index(UNKNOWN)
    where = f"{origin}:{first.line}" if first.line else f"{origin}, sentence {sentences.index(first) + 1}"
    raise UserError(
        f"{where}: the tag of word {index + 1} ({first.words[index]!r:.40}) is unknown (?), as are "
        f"{unknown_words(partly) - 1:,} others;\n"
        f"{split} data are scored, which needs every tag: complete the {len(partly):,} sentences, leave them "
        f"out, or name a file with all tags as data.{split}"
    )
