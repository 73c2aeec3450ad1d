"""Takes the words and tags out of a JSON row, and finds the words in the text beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ner_lightning.data.readers.json_spans import SPANS, TEXTS, own_text
from ner_lightning.data.running_text import Offsets
from ner_lightning.data.sentence import SURROGATE
from ner_lightning.errors import UserError

WORDS = ("tokens", "words")  # fields with a list of words, the first that is present
TAGS = ("ner_tags", "tags", "labels", "ner")  # fields with a list of tags
NAME_ONE = "name one as data.files.words_column (predict: --words_column)"


def words_field(row: Mapping[str, Any], asked: str | None) -> str:
    """The field of a row that may hold a list of words; empty if there is none."""
    return next((name for name in ((asked,) if asked else WORDS) if name in row), "")


def has_words(row: Any, asked: str | None) -> bool:
    """Whether a row has a list of words of its own.

    Args:
        row: the parsed JSON.
        asked: the field that is to have it; None: one of `WORDS`.
    """
    if not isinstance(row, dict) or (asked is None and "tokenized_text" in row):
        return False
    words = row.get(words_field(row, asked))
    if words is None or isinstance(words, str):
        return False
    if isinstance(words, list):
        return not (words and isinstance(words[0], dict)) and bool(asked or words or not own_text(row))
    # Beside a text, what is no list of words is something else, such as the number of tokens.
    return asked is not None or not any(isinstance(row.get(name), str) for name in TEXTS)


def words_in(row: Mapping[str, Any], asked: str | None) -> list[Any]:
    """The list of words of a row that has one.

    Raises:
        UserError: it is no list, or it is not certain which field has it.
    """
    name = words_field(row, asked)
    rivals = [name for name in WORDS if asked is None and are_words(row.get(name))]
    if any(row[rival] != row[rivals[0]] for rival in rivals):
        raise UserError(f"the fields {' and '.join(rivals)} may both hold the words; {NAME_ONE}")
    if not isinstance(row[name], list):
        raise UserError(f"field {name!r} is not a list; write a list of words")
    return list(row[name])


def has_spans(row: Any, asked: str | None) -> bool:
    """Whether a row has a text with entities as offsets, and no tags, whatever words are beside it.

    Args:
        row: the parsed JSON.
        asked: the field with the entities; None: one of `SPANS`.
    """
    if not isinstance(row, dict) or not own_text(row):
        return False
    names = SPANS if asked is None else (asked,)
    lists = {name: row[name] for name in names if isinstance(row.get(name), list)}
    tags = [name for name in TAGS if asked is None and name not in SPANS and isinstance(row.get(name), list)]
    return bool(lists) and not tags and all(_are_spans(*each) for each in lists.items())


def _are_spans(name: str, values: Sequence[Any]) -> bool:
    """Whether a field has entities as offsets; an empty list has, unless it may be one of tags."""
    if not values:
        return name in SPANS and name not in TAGS
    return _holds_spans(values)


def text_beside(row: Mapping[str, Any], words: Sequence[str]) -> tuple[str, tuple[Offsets, ...]] | None:
    """The text of a row that also has words, and their offsets; None if there is none that has them all."""
    text = next((row[name] for name in TEXTS if isinstance(row.get(name), str)), None)
    if text is None or SURROGATE.search(text):
        return None
    offsets = offsets_in(text, words)
    return None if offsets is None else (text, offsets)


def offsets_in(text: str, words: Sequence[str]) -> tuple[Offsets, ...] | None:
    """The offsets of words in a text that has no others; None if it has others."""
    offsets = []
    end = 0
    for word in words:
        start = text.find(word, end)
        if start < 0 or text[end:start].strip():
            return None
        end = start + len(word)
        offsets.append((start, end))
    return None if text[end:].strip() else tuple(offsets)


def are_objects(values: Any) -> bool:
    """Whether a value is a list of objects, and not empty."""
    return isinstance(values, list) and bool(values) and all(isinstance(value, dict) for value in values)


def _holds_spans(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(each, list | dict) for each in values)


def are_words(values: Any) -> bool:
    """Whether a value is a list of strings, and not empty."""
    return isinstance(values, list) and bool(values) and all(isinstance(value, str) for value in values)


def tags_in(row: Mapping[str, Any], field: str | None) -> tuple[Any, ...]:
    """The tags of a row, as they are.

    Raises:
        UserError: no field has them, or it is not certain which.
    """
    names = TAGS if field is None else (field,)
    found = [name for name in names if name in row]
    spans = [name for name in found or (SPANS if field is None else ()) if _holds_spans(row.get(name))]
    if spans:
        raise UserError(
            f"field {spans[0]!r} holds entities with offsets, not a tag for each word;\n"
            "write a tag for each word, or name the text as data.files.words_column"
        )
    lists = [name for name in found if isinstance(row[name], list)]
    if not found:
        raise UserError(
            f"no field {' or '.join(names)} with tags; name it as data.files.tags_column "
            f"(fields: {', '.join(row) or 'none'})"
        )
    if not lists:
        raise UserError(
            f'field {found[0]!r} is not a list; write a list of tag names, in quotes: ["O", "B-PER"]'
        )
    if any(row[name] != row[lists[0]] for name in lists):
        raise UserError(
            f"the fields {' and '.join(lists)} may both hold the tags; name one: data.files.tags_column"
        )
    return tuple(row[lists[0]])
