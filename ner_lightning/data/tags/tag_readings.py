"""How a column writes tags: as B-PER, with another prefix, with a suffix, or as types alone; reads them."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from ner_lightning.data.schemes import OUTSIDE, is_tag

MAX_BARE = 100  # types of a file that are written without B- and I-
PREFIX = re.compile(r"([BIESLUMbieslum])[-_](.+)")
_SUFFIX = re.compile(r"(.+)[-_]([BIESLUM])")
_TYPE = re.compile(r"(?![BIESLUM](?:[-_]?$|:))[^\W\d_].*", re.DOTALL)

Kind = Literal["plain", "prefix", "suffix", "bare", "numbers", "none"]


def reading(cells: Sequence[str], *, has_outside: bool) -> tuple[Kind, Callable[[str], str | None]]:
    """The form that most cells have, and how to read it."""
    if not cells or all(cell == OUTSIDE for cell in cells):
        return "none", _plain
    forms: tuple[tuple[Kind, Callable[[str], str | None]], ...] = (
        ("plain", _plain),
        ("prefix", _prefix),
        ("suffix", _suffix),
    )
    if not _begins(cells):
        forms = tuple(form for form in forms if form[0] != "prefix")
    for kind, read in forms:
        if all(read(cell) for cell in cells):
            return kind, read
    for kind, read in forms:
        if 2 * sum(read(cell) is not None for cell in cells) > len(cells):
            return kind, read
    is_bare = has_outside and len(cells) <= MAX_BARE and all(map(bare, cells)) and _has_no_prefix(cells)
    return ("bare", bare) if is_bare else ("plain", _plain)


def _begins(cells: Sequence[str]) -> bool:
    """Whether some prefix may begin an entity, as in all schemes; `e-mail` alone has none that may."""
    return any(match[1] in "BISUbisu" for cell in cells if (match := PREFIX.fullmatch(cell)))


def _has_no_prefix(cells: Sequence[str]) -> bool:
    """Whether types are written without B- and I-, though some begin with such a letter, as `e-mail` does.

    That is no prefix: nothing else has B- or I-, and what follows it occurs in no other cell.
    """
    types = [(match[1], match[2]) if (match := PREFIX.fullmatch(cell)) else ("", cell) for cell in cells]
    several = {type_ for type_, count in Counter(type_ for _, type_ in types).items() if count > 1}
    return not any(letter in set("BIbi") or (letter and type_ in several) for letter, type_ in types)


def rare_prefix(cells: Sequence[str]) -> str:
    """The first tag with a prefix where most have none; empty if there is none."""
    prefixed = [cell for cell in cells if PREFIX.fullmatch(cell)]
    return prefixed[0] if 0 < 2 * len(prefixed) < len(cells) else ""


def _plain(cell: str) -> str | None:
    return cell if is_tag(cell) else None


def _prefix(cell: str) -> str | None:
    match = PREFIX.fullmatch(cell)
    return _plain(f"{match[1].upper()}-{match[2]}") if match else None


def _suffix(cell: str) -> str | None:
    match = _SUFFIX.fullmatch(cell)
    return _plain(f"{match[2]}-{match[1]}") if match else None


def bare(cell: str) -> str | None:
    """The tag of a type alone; None if the cell is none."""
    return _plain(f"I-{cell}") if _TYPE.fullmatch(cell) else None
