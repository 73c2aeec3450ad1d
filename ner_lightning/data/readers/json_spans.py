"""Finds the fields of a JSON row that hold its text and its entities."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ner_lightning.data.sentence import SURROGATE
from ner_lightning.errors import UserError

TEXTS = ("text", "data", "content")  # fields with a text, the first that is present
SPANS = ("label", "labels", "entities", "spans", "annotations", "ents")  # fields with its entities


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
