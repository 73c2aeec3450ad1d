"""Takes a text out of JSON, and its entities and tokens as offsets of characters."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ner_lightning.data.readers.counting import COUNTINGS, offsets_of, same_words
from ner_lightning.data.readers.record import CharSpan
from ner_lightning.data.running_text import Offsets
from ner_lightning.data.sentence import SURROGATE, is_invisible
from ner_lightning.errors import UserError

TEXTS = ("text", "data", "content")  # fields with a text, the first that is present
SPANS = ("label", "labels", "entities", "spans", "annotations", "ents")  # fields with its entities
PARAGRAPHS = (
    "labels of Label Studio that mark paragraphs of a dialogue (ParagraphLabels), not one text;\n"
    'write each paragraph as a row of its own: {"text": "Vera left.", "label": [[0, 4, "PER"]]}'
)
_STARTS, _ENDS = ("start", "start_offset"), ("end", "end_offset")
_TYPES = ("label", "labels", "type", "tag", "entityLabel")
_WRITE_SPAN = 'write [start, end, "TYPE"] or {"start": 0, "end": 6, "label": "TYPE"}'


def own_text(row: Mapping[str, Any]) -> str:
    """The text of a row itself, under one of the usual names; empty if it has none."""
    return next((row[name] for name in TEXTS if isinstance(row.get(name), str) and row[name].strip()), "")


def checked_text(text: str, name: str) -> str:
    """Returns the text of a field.

    Raises:
        UserError: it contains half a character.
    """
    if SURROGATE.search(text):
        raise UserError(f"field {name!r} contains {text!r:.40}, which is not text: half a character")
    return text


def region_fields(row: Mapping[str, Any]) -> list[str]:
    """The fields that list labelled regions of a text, as Label Studio's JSON-MIN and UBIAI write them."""
    return [name for name, value in row.items() if isinstance(value, list) and _holds_regions(value)]


def _holds_regions(values: list[Any]) -> bool:
    # By the names of their fields first: the tokens of a text are many, and alike.
    names = {tuple(value) for value in values if isinstance(value, dict)}
    return any(map(_are_of_region, names)) and any(map(_is_region, values))


def _is_region(value: Any) -> bool:
    if not isinstance(value, dict) or not _are_of_region(value):
        return False
    return "entityLabel" in value or any(isinstance(value[name], list) for name in _labels_in(value))


def _are_of_region(names: Collection[str]) -> bool:
    return "start" in names and "end" in names and ("entityLabel" in names or any(_labels_in(names)))


def _labels_in(names: Iterable[str]) -> Iterator[str]:
    # Label Studio names the labels by the kind of control: labels, hypertextlabels, paragraphlabels.
    return (name for name in names if name.endswith("labels"))


def entities_in(row: Mapping[str, Any], text_field: str, asked: str | None, regions: Sequence[str]) -> Any:
    """What a row has as its entities; None if no field has any.

    Label Studio's JSON-MIN has a field for each control, whatever its name; all of them are read.

    Args:
        row: the parsed JSON.
        text_field: the field with the text.
        asked: the field with the entities; None: one of `SPANS`, or each with labelled regions.
        regions: those with labelled regions; see `region_fields`.

    Raises:
        UserError: it is not certain which field.
    """
    regions = regions if asked is None else ()
    fields = [name for name in (SPANS if asked is None else (asked,)) if name in row and name != text_field]
    lists = [name for name in fields if isinstance(row[name], list)]
    if regions:
        rivals = [*regions, *(name for name in lists if row[name] and name not in regions)]
        is_certain = len(rivals) == len(regions)
    else:
        rivals = lists
        is_certain = all(row[name] == row[lists[0]] for name in lists)
    if not is_certain:
        raise UserError(
            f"the fields {' and '.join(rivals)} may both hold the entities; name one: data.files.tags_column"
        )
    if regions:
        return [region for name in regions for region in row[name]]
    # A label of the whole text, or a field left empty, may stand beside the list of entities.
    return next((row[name] for name in (*lists, *fields)), None)


def spans_of(entities: Any, text: str) -> tuple[CharSpan, ...]:
    """The entities of a text, whose offsets fit the texts that they state themselves, as Label Studio's do.

    Offsets that count otherwise are converted: some versions of it count an emoji as two characters, and a
    line break of two characters as one.

    Raises:
        UserError: one is malformed, or states another text than there is.
    """
    spans = tuple(spans_in(entities))
    given = (entity.get("text") if isinstance(entity, dict) else None for entity in entities)
    stated = [(s, t) for s, t in zip(spans, given, strict=True) if isinstance(t, str) and t.strip()]
    if all(same_words(text[span.start : span.end], own) for span, own in stated):
        return spans
    for counting in COUNTINGS:
        offsets = offsets_of(text, counting)
        inside = all(0 <= span.start <= span.end < len(offsets) for span in spans)
        if inside and all(same_words(text[offsets[s.start] : offsets[s.end]], own) for s, own in stated):
            return tuple(CharSpan(offsets[s.start], offsets[s.end], s.type) for s in spans)
    span, own = next((s, own) for s, own in stated if not same_words(text[s.start : s.end], own))
    raise UserError(
        f"the entity {span.type} from {span.start} to {span.end} is stated as {own!r:.40}, but the text has "
        f"{text[span.start : span.end]!r:.40} there; offsets count characters from 0"
    )


def spans_in(entities: Any) -> Iterator[CharSpan]:
    """Entities as lists or objects.

    Raises:
        UserError: one is neither, or lacks an offset or a type.
    """
    if not isinstance(entities, list):
        raise UserError(f"the entities are {entities!r:.40}, which is not a list; {_WRITE_SPAN}")
    for entity in entities:
        if isinstance(entity, dict):
            if "paragraphlabels" in entity:
                raise UserError(PARAGRAPHS)
            start, end = (next((entity[n] for n in names if n in entity), None) for names in (_STARTS, _ENDS))
            type_ = next((entity[name] for name in _TYPES if name in entity), None)
        elif isinstance(entity, list) and len(entity) >= 3:
            start, end, type_ = entity[:3]
        else:
            raise UserError(f"the entity {entity!r:.40} is malformed; {_WRITE_SPAN}")
        if isinstance(type_, list) and len(type_) == 1:  # Label Studio
            type_ = type_[0]
        if isinstance(type_, list) and len(type_) > 1:
            raise UserError(f"an entity with several labels, {', '.join(map(str, type_))}; leave it one")
        if isinstance(type_, str) and SURROGATE.search(type_):
            raise UserError(f"the type {type_!r:.40} is not text")
        if type(start) is not int or type(end) is not int or not isinstance(type_, str):
            raise UserError(f"the entity {entity!r:.60} is malformed; {_WRITE_SPAN}")
        yield CharSpan(start, end, type_)


def tokens_in(tokens: Any, text: str) -> tuple[Offsets, ...]:
    """The offsets of Prodigy's tokens; those of white space are no words.

    Raises:
        UserError: they are no list, lie outside the text, or not one after the other.
    """
    if not isinstance(tokens, list):
        raise UserError(f"field 'tokens' is {tokens!r:.40}, which is not a list")
    offsets: list[Offsets] = []
    before = 0
    for token in tokens:
        start, end = (
            (token.get(name) for name in ("start", "end")) if isinstance(token, dict) else (None, None)
        )
        if type(start) is not int or type(end) is not int or not before <= start <= end <= len(text):
            raise UserError(f"the token {token!r:.60} does not lie in the text after the one before it")
        before = end
        if not is_invisible(text[start:end]):
            offsets.append((start, end))
    return tuple(offsets)
