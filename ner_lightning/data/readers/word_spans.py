"""Makes a record of words with entities: BIO2 tags if no two overlap, otherwise a text with entities."""

from collections.abc import Sequence

from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.readers.record import CharSpan, Record
from ner_lightning.data.running_text import from_words
from ner_lightning.data.schemes import Span, to_bio2


def with_spans(record: Record, words: Sequence[str], entities: Sequence[Span]) -> Record:
    """The record with these words and entities.

    Args:
        record: where the sentence is; `lines` if the words have lines of their own.
        words: the words of the sentence.
        entities: its entities, in the order of the file; they may overlap.

    Returns:
        A record of words with BIO2 tags. If entities overlap, one of the text that joins the words by
        single spaces, so that the rules for overlapping entities apply.
    """
    distinct = list(dict.fromkeys(entities))
    if not overlap(distinct):
        return record._replace(content=tuple(words), tags=tuple(to_bio2(distinct, len(words))))
    offsets = from_words(words).offsets
    return record._replace(
        content=" ".join(words),
        # As in other texts, what is invisible is no word.
        tokens=tuple(offset for offset, word in zip(offsets, words, strict=True) if not is_invisible(word)),
        entities=tuple(CharSpan(offsets[e.start][0], offsets[e.end - 1][1], e.type) for e in distinct),
        lines=(),
        is_sentence=True,
    )


def overlap(entities: Sequence[Span]) -> bool:
    """Whether two of the entities share a word."""
    end = 0
    for span in sorted(entities, key=lambda span: (span.start, span.end)):
        if span.start < end:
            return True
        end = span.end
    return False
