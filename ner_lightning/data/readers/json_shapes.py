"""Recognises by its fields which annotation tool wrote a JSON row, and takes out its text and entities."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ner_lightning.data.readers.gliner import sentence_of
from ner_lightning.data.readers.json_entities import spans_of
from ner_lightning.data.readers.json_spans import (
    SPANS,
    TEXTS,
    checked_text,
    entities_in,
    own_text,
    region_fields,
)
from ner_lightning.data.readers.json_tokens import Tokens, tokens_in
from ner_lightning.data.readers.label_studio import is_task, text_of_task
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.stated_entities import Changed
from ner_lightning.data.running_text import Offsets
from ner_lightning.data.sentence import SURROGATE
from ner_lightning.errors import UserError

WORDS = ("tokens", "words")  # fields with a list of words, the first that is present
TAGS = ("ner_tags", "tags", "labels", "ner")  # fields with a list of tags
COLUMNS = {*WORDS, *TEXTS, *TAGS, *SPANS, "tokenized_text", "answer"}  # whatever a row may be read from
_NAME_ONE = "name one as data.files.words_column (predict: --words_column)"


class Annotated(NamedTuple):
    """A text with its entities.

    Attributes:
        text: the text.
        entities: its entities.
        tokens: the offsets of its words; None if the file leaves them open.
    """

    text: str
    entities: tuple[CharSpan, ...] = ()
    tokens: tuple[Offsets, ...] | None = None


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
    words = row.get(words_field(row, asked), "")
    if isinstance(words, str) or (isinstance(words, list) and words and isinstance(words[0], dict)):
        return False
    # Beside a text, what is no list of words is something else, such as the number of tokens.
    return asked is not None or (isinstance(words, list) and bool(words)) or not own_text(row)


def text_beside(row: Mapping[str, Any], words: Sequence[str]) -> Annotated | None:
    """The text of a row that also has words, with their offsets; None if there is none that has them all."""
    text = next((row[name] for name in TEXTS if isinstance(row.get(name), str)), None)
    if text is None or SURROGATE.search(text):
        return None
    offsets = []
    end = 0
    for word in words:
        start = text.find(word, end)
        if start < 0 or text[end:start].strip():
            return None
        end = start + len(word)
        offsets.append((start, end))
    if text[end:].strip():
        return None
    return Annotated(text, (), tuple(offsets))


def annotated(
    row: Any, text_field: str | None, spans_field: str | None, changed: Changed, *, tagged: bool
) -> Annotated:
    """The text and entities of a row of Label Studio, Prodigy, doccano, GLiNER or spaCy.

    Args:
        row: the parsed JSON.
        text_field: the field with the text; None: one of `TEXTS`.
        spans_field: the field with the entities; None: one of `SPANS`.
        changed: called with each kind of change, and the text where it was.
        tagged: whether entities are read.

    Raises:
        UserError: the row has none of these shapes, or is malformed.
    """
    if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], dict):
        row = row[1] | {"text": row[0]}  # spaCy's pairs
    if not isinstance(row, dict):
        raise UserError(f"a JSON {type(row).__name__}, not an object; write one object per line")
    if is_task(row) and text_field not in row:
        return Annotated(*text_of_task(row, text_field, spans_field, changed, tagged=tagged))
    if isinstance(row.get("tokenized_text"), list) and text_field in (None, "tokenized_text"):
        return Annotated(*sentence_of(row, spans_field or "ner", changed, tagged=tagged))
    texts = TEXTS if text_field is None else (text_field,)
    name = next((name for name in texts if isinstance(row.get(name), str)), None)
    if name is None:
        raise UserError(_without_text(row, text_field))
    text = checked_text(row[name], name)
    regions = region_fields(row)
    tokens = None
    if "tokens" not in (spans_field, *regions):  # entities, as UBIAI calls them
        tokens = _tokens(row.get("tokens"), text, changed, named=text_field is not None, tagged=tagged)
    words = None if tokens is None else tokens.words(text)
    if not tagged:
        return Annotated(text, (), words)
    entities = entities_in(row, name, spans_field, regions)
    # Label Studio's JSON-MIN leaves the field out of a text without entities, and Prodigy may.
    may_lack = "annotation_id" in row or (tokens is not None and "answer" in row)
    if entities is None and not may_lack:
        fields = " or ".join(SPANS[:4] if spans_field is None else (spans_field,))
        raise UserError(
            f"a text in field {name!r} but no entities; write them in the field {fields},\n"
            "or name their field: data.files.tags_column"
        )
    spans = spans_of(entities or [], text, changed, tokens and tokens.counting)
    if tokens is not None:
        tokens.check_numbers(entities, spans, text)
    return Annotated(text, spans, words)


def _tokens(tokens: Any, text: str, changed: Changed, *, named: bool, tagged: bool) -> Tokens | None:
    """The tokens beside a text, which may be `named`; None if the row leaves them open."""
    if not tokens or isinstance(tokens, int | float):  # how many there are
        return None
    # A text that is named is tagged as it is, whatever another tokenizer made of it.
    return None if named and not tagged and not _are_objects(tokens) else tokens_in(tokens, text, changed)


def _are_objects(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, dict) for value in values)


def _are_words(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(value, str) for value in values)


def tags_in(row: Mapping[str, Any], field: str | None) -> tuple[Any, ...]:
    """The tags of a row, as they are.

    Raises:
        UserError: no field has them, or it is not certain which.
    """
    names = TAGS if field is None else (field,)
    found = [name for name in names if name in row]
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


def _without_text(row: Mapping[str, Any], asked: str | None) -> str:
    """Why a row has no text."""
    fields = ", ".join(row) or "none"
    if asked is None:
        asked = next((name for name in TEXTS if name in row), None)
    if asked is not None and _are_words(row.get(asked)):
        return (
            f"field {asked!r} is a list; if it is one of words, name it as data.files.words_column "
            "(predict: --words_column), and write a text otherwise"
        )
    if asked is not None and asked in row:
        return f"field {asked!r} holds {row[asked]!r:.40}, which is neither a text nor a list of words"
    if asked is None and any(name in row for name in WORDS):
        name = words_field(row, None)
        if row[name] and _are_objects(row[name]):
            return (
                f"field {name!r} is a list of objects, not of words, without a text in the field "
                f"{' or '.join(TEXTS)};\n{_NAME_ONE}; fields: {fields}"
            )
        return f"field {name!r} is {row[name]!r:.40}, which is not a list; write a list of words"
    what = "neither a list of words nor a text" if asked is None else f"no field {asked!r}"
    return f"{what}; {_NAME_ONE}; fields: {fields}"


def with_names(row: dict[str, Any], classes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A row whose numbers are replaced by their names; a number without one stays."""
    for column, names in classes.items():
        values = row.get(column)
        if isinstance(values, list):
            row[column] = [
                names[value] if type(value) is int and 0 <= value < len(names) else value for value in values
            ]
    return row
