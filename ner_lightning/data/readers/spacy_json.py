"""Reads the JSON that spaCy 2 was trained with: documents of paragraphs of sentences of tokens."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from ner_lightning.data.readers.changes import Changes
from ner_lightning.data.readers.record import Record, rejected
from ner_lightning.data.schemes import OUTSIDE, split_tag
from ner_lightning.data.sentence import SURROGATE
from ner_lightning.errors import UserError

_MISSING = ("-", "", None)  # a token's `ner`: it was not annotated
_WRITE = 'write {"orth": "Vera", "ner": "U-PER"}'


def is_spacy_json(item: Any) -> bool:
    """Whether a parsed JSON value is a document of spaCy 2: an object with paragraphs of sentences."""
    paragraphs = item.get("paragraphs") if isinstance(item, dict) else None
    return isinstance(paragraphs, list) and all(
        isinstance(paragraph, dict) and isinstance(paragraph.get("sentences"), list)
        for paragraph in paragraphs
    )


def read_spacy_json(
    items: Iterable[tuple[int, Any]], source: str, *, field: str = "ner", tagged: bool = True
) -> Iterator[Record]:
    """Reads sentences of words with BILOU tags.

    Args:
        items: the documents, each with its line or number.
        source: the file's name in messages.
        field: of a token, with its tag.
        tagged: whether tags are read.

    Yields:
        A record for each sentence, with its document's line. A document or sentence that is malformed or was
        not annotated is rejected.
    """
    changes = Changes()
    for number, item in items:
        name = item.get("id") if isinstance(item, dict) else None
        document = name if isinstance(name, str | int) else (number,)
        record = Record(source, number, starts_document=True, document=document)
        if not is_spacy_json(item):
            yield rejected(record, "no document of spaCy 2: an object with paragraphs of sentences")
            continue
        changes.place = f"document {number}"
        for sentence in chain.from_iterable(paragraph["sentences"] for paragraph in item["paragraphs"]):
            try:
                yield _sentence(record, sentence, changes, field if tagged else None)
            except UserError as error:
                yield rejected(record, str(error))
            record = record._replace(starts_document=False)
    changes.report(source)


def _sentence(record: Record, sentence: Any, changes: Changes, field: str | None) -> Record:
    """The words of a sentence, and its tags unless `field` is None.

    Raises:
        UserError: it is malformed, or was not annotated.
    """
    tokens = sentence.get("tokens") if isinstance(sentence, dict) else None
    if not isinstance(tokens, list) or not tokens:
        raise UserError(f"the sentence {sentence!r:.60} has no tokens; remove it")
    words = tuple(map(_word, tokens))
    if field is None:
        return record._replace(content=words)
    given = [token.get(field) for token in tokens]
    if all(tag in _MISSING for tag in given):
        raise UserError(
            f"the sentence {' '.join(words)!r:.40} was not annotated: no token has a tag as {field}; {_WRITE}"
        )
    tags = []
    for word, tag in zip(words, given, strict=True):
        if tag in _MISSING:
            changes("words were not annotated and were read as outside of entities", word)
            tag = OUTSIDE
        if not isinstance(tag, str):
            raise UserError(f"the tag {tag!r:.40} of {word!r:.40} is not text; {_WRITE}")
        split_tag(tag)
        tags.append(tag)
    return record._replace(content=words, tags=tuple(tags))


def _word(token: Any) -> str:
    """The word of a token.

    Raises:
        UserError: there is none.
    """
    word = token.get("orth") if isinstance(token, Mapping) else None
    if not isinstance(word, str) or SURROGATE.search(word):
        raise UserError(f"the token {token!r:.60} has no word; {_WRITE}")
    return word
