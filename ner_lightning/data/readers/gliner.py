"""Reads GLiNER's training data: a list of words, and entities that name their first and last word."""

from collections.abc import Mapping
from typing import Any

from ner_lightning.data.invisible import is_invisible
from ner_lightning.data.readers.counting import Counting
from ner_lightning.data.readers.json_entities import entities_of
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.stated_entities import Changed
from ner_lightning.data.running_text import Offsets, from_words
from ner_lightning.data.sentence import SURROGATE
from ner_lightning.errors import UserError

_OF_WORDS = "words count from 0, the last one is included"


def sentence_of(
    row: Mapping[str, Any], field: str, changed: Changed, *, tagged: bool
) -> tuple[str, tuple[CharSpan, ...], tuple[Offsets, ...]]:
    """The words of a row as a text, its entities, and the offsets of the words.

    Args:
        row: the parsed JSON, with a list under `tokenized_text`.
        field: the field with the entities, which name their first and last word.
        changed: called with each kind of change, and the text where it was.
        tagged: whether entities are read.

    Raises:
        UserError: a word is not text, no such field has entities, or one does not lie in the sentence.
    """
    words = row["tokenized_text"]
    if not words or not all(
        isinstance(word, str) and not is_invisible(word) and not SURROGATE.search(word) for word in words
    ):
        raise UserError("field 'tokenized_text' must be a list of words, none of them empty")
    text = " ".join(words)
    offsets = tuple(from_words(words).offsets)
    if not tagged:
        return text, (), offsets
    if field not in row:
        raise UserError(
            f"no field {field!r} with the entities of tokenized_text; name theirs as data.files.tags_column "
            f"(fields: {', '.join(row)})"
        )
    starts, ends = zip(*offsets, strict=True)
    counting = Counting("words", starts, ends)
    spans = []
    for entity in entities_of(row[field], text, changed):
        if not 0 <= entity.start <= entity.end < len(words):
            raise UserError(
                f"the entity {entity.types[0]} from word {entity.start} to {entity.end} does not lie in the "
                f"sentence, which has {len(words)} words; {_OF_WORDS}"
            )
        span = entity.at(text, counting)
        if span is None:
            raise entity.refusal(text, counting, _OF_WORDS)
        spans.append(span)
    return text, tuple(spans), offsets
