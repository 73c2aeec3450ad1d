"""Recognises by its fields which annotation tool wrote a JSON row, and takes out its text and entities."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ner_lightning.data.readers.counting import countings
from ner_lightning.data.readers.gliner import sentence_of
from ner_lightning.data.readers.json_entities import spans_of
from ner_lightning.data.readers.json_spans import (
    SPANS,
    TEXTS,
    checked_text,
    entities_in,
    region_fields,
)
from ner_lightning.data.readers.json_tokens import Tokens, tokens_in
from ner_lightning.data.readers.json_words import (
    NAME_ONE,
    TAGS,
    WORDS,
    are_objects,
    are_words,
    offsets_in,
    words_field,
)
from ner_lightning.data.readers.label_studio import is_task, text_of_task
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.readers.stated_entities import Changed
from ner_lightning.data.running_text import Offsets
from ner_lightning.errors import UserError

COLUMNS = {*WORDS, *TEXTS, *TAGS, *SPANS, "tokenized_text", "answer"}  # whatever a row may be read from


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
        given = row["words"] if are_words(row.get("words")) and not row.get("tokens") else row.get("tokens")
        tokens = _tokens(given, text, changed, named=text_field is not None, tagged=tagged)
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
    if named and not tagged and not are_objects(tokens):
        return None
    if not are_words(tokens):
        return tokens_in(tokens, text, changed)
    offsets = offsets_in(text, tokens)
    if offsets is None:
        changed("texts have other words than those beside them, and were split anew", text)
    return None if offsets is None else Tokens(offsets, next(countings(text)))


def _without_text(row: Mapping[str, Any], asked: str | None) -> str:
    """Why a row has no text."""
    fields = ", ".join(row) or "none"
    if asked is None:
        asked = next((name for name in TEXTS if name in row), None)
    if asked is not None and are_words(row.get(asked)):
        return (
            f"field {asked!r} is a list; if it is one of words, name it as data.files.words_column "
            "(predict: --words_column), and write a text otherwise"
        )
    if asked is not None and asked in row:
        return f"field {asked!r} holds {row[asked]!r:.40}, which is neither a text nor a list of words"
    if asked is None and any(name in row for name in WORDS):
        name = words_field(row, None)
        if row[name] and are_objects(row[name]):
            return (
                f"field {name!r} is a list of objects, not of words, without a text in the field "
                f"{' or '.join(TEXTS)};\n{NAME_ONE}; fields: {fields}"
            )
        return f"field {name!r} is {row[name]!r:.40}, which is not a list; write a list of words"
    what = "neither a list of words nor a text" if asked is None else f"no field {asked!r}"
    return f"{what}; {NAME_ONE}; fields: {fields}"


def with_names(row: dict[str, Any], classes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A row whose numbers are replaced by their names; a number without one stays.

    Args:
        row: the parsed JSON, which is changed.
        classes: the names by column; by `column.field` where a column holds objects, or an object of lists.
    """
    for key, names in classes.items():
        column, _, field = (key, "", "") if key in row else key.partition(".")
        values = row.get(column)
        if not field and isinstance(values, list):
            row[column] = _named(values, names)
        for item in values if isinstance(values, list) else [values]:
            if field and isinstance(item, dict) and field in item:
                item[field] = _named(item[field], names)
    return row


def _named(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    return names[value] if type(value) is int and 0 <= value < len(names) else value
