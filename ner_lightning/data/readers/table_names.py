"""The names in a table's header: which columns hold words, texts, tags, entities, sentences, documents."""

import re
from collections.abc import Iterable, Sequence

# Names that are used if no column is asked for; case and what is between their parts are ignored.
WORDS = ("word", "token", "words", "tokens", "form")
ONE_WORD = ("word", "token", "form")  # the names of a column that has no texts
TAGS = ("tag", "label", "ner_tag", "tags", "labels", "ner_tags", "ner", "entity", "ne", "entity_type")
ENTITIES = ("entities", "spans", "annotations")  # besides those of tags, of a column with spans
TEXTS = ("text", "content", "data")
SENTENCE = "sentence_id"  # the name to recommend
_NUMBER = "[_#.]*(id|idx|index|no|nr|num|number|name)?[_#.]*"
_SENTENCE = re.compile("(sentence|sent)" + _NUMBER)
_DOCUMENT = re.compile("(document|doc)" + _NUMBER)
_BETWEEN = re.compile(r"[\s_-]+")


def is_one_of(name: str, names: Iterable[str]) -> bool:
    """Whether a column has one of some names."""
    return _key(name) in map(_key, names)


def is_sentence(name: str) -> bool:
    """Whether a column tells sentences apart: `Sentence #`, `sent_no`, `sentence-id`."""
    return _SENTENCE.fullmatch(_key(name)) is not None


def is_document(name: str) -> bool:
    """Whether a column tells documents apart: `document`, `Doc ID`."""
    return _DOCUMENT.fullmatch(_key(name)) is not None


def is_known(name: str) -> bool:
    """Whether a column has any of the names that are used."""
    return is_one_of(name, (*WORDS, *TAGS, *ENTITIES, *TEXTS)) or is_sentence(name) or is_document(name)


def find(header: Sequence[str], *names: str) -> int | None:
    """Index of the first of the named columns that is present, spelled as it is before spelled otherwise."""
    for spelled in (_lower, _key):
        known = [spelled(cell) for cell in header]
        for name in names:
            if spelled(name) and spelled(name) in known:
                return known.index(spelled(name))
    return None


def _lower(name: str) -> str:
    return name.strip().lower()


def _key(name: str) -> str:
    return _BETWEEN.sub("_", name.strip().lower())
