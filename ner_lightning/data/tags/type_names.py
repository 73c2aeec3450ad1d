"""Renames entity types as data are read, so that types are merged, or leaves types out."""

from collections.abc import Iterable, Mapping, Sequence

from ner_lightning.data.schemes import OUTSIDE, UNKNOWN, split_tag
from ner_lightning.errors import UserError

KEY = "data.files.rename_types"


def read_renames(given: str) -> dict[str, str]:
    """The new name of each type, empty for a type that is left out.

    Args:
        given: `OLD=NEW` separated by commas, as in `person=PER,MISC=`.

    Raises:
        UserError: an entry is malformed, names a type twice, or its new name is no type.
    """
    renames: dict[str, str] = {}
    for entry in given.split(","):
        old, equals, new = (part.strip() for part in entry.partition("="))
        if not old or not equals:
            raise UserError(f"{KEY}: {entry.strip()!r} is malformed; write OLD=NEW, or OLD= to leave it out")
        if old in renames:
            raise UserError(f"{KEY}: {old} stands twice; give each type one name")
        if new:
            split_tag(f"B-{new}")
        renames[old] = new
    return renames


def renamed_types(types: Iterable[str], renames: Mapping[str, str]) -> tuple[str, ...]:
    """Types by their new names, each once, in the order of first appearance."""
    return tuple(dict.fromkeys(name for each in types if (name := renames.get(each, each))))


def renamed_tags(tags: Sequence[str], renames: Mapping[str, str]) -> tuple[str, ...]:
    """BIO2 tags with the new names of types; a type that is left out becomes O."""
    return tuple(_renamed(tag, renames) for tag in tags)


def _renamed(tag: str, renames: Mapping[str, str]) -> str:
    if tag in (OUTSIDE, UNKNOWN):
        return tag
    name = renames.get(tag[2:], tag[2:])
    return tag[:2] + name if name else OUTSIDE


def unused(renames: Mapping[str, str], tags: Iterable[Sequence[str]]) -> list[str]:
    """The old names of which there is no entity, before renaming."""
    found = {tag[2:] for each in tags for tag in each}
    return [old for old in renames if old not in found]
