"""Tag forms: how files write tags (B_PER, PER-B, b-per, person, 3), and the tags that are meant."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from unicodedata import name

from ner_lightning.data.invisible import visible
from ner_lightning.data.schemes import OUTSIDE, UNKNOWN
from ner_lightning.data.tags.tag_readings import PREFIX, Kind, bare, rare_prefix, reading
from ner_lightning.system.terminal import listed

OUTSIDES = ("O", "o", "-", "_", "0", "")  # ways to write that a word is in no entity
_NO_TYPES = ("none", "nan", "null", "na", "n/a", "outside", "out")  # in any case
_MAYBE_TYPES = ("other", "others")  # in any case
# Letters of Greek and Cyrillic, and of full width, that look like those of tags.
_LOOK_ALIKE = str.maketrans(
    "\u041e\u043e\u039f\u03bf\uff2f\uff4f\u0412\u0392\uff22\u0406\u0399\uff29\u0415\u0395\uff25\u0405\uff33",
    "OoOoOoBBBIIIEEESS",
)
_SEVERAL = re.compile(r"\s*[,;|/]\s*")
_UNNAMED = (
    "the tag is the number {};\nname the tags that numbers stand for, in order: "
    "--data.files.tag_names O,B-PER,I-PER (or a file with one per line)"
)
_FORM = "a tag is O, or one of B-, I-, E- and S- before an entity type, as in B-PER"


class TagForm(NamedTuple):
    """What the cells of a column of tags mean.

    Attributes:
        kind: `plain` (B-PER), `prefix` (B_PER, b-per), `suffix` (PER_B), `bare` (types alone), `numbers`,
            or `none` where no cell names an entity.
        tags: the tag of each cell that has one; of bare types it begins with I-.
        problems: what is wrong with each other cell, and what to do.
        several: the cells with several tags, of which the first is in `tags`.
    """

    kind: Kind
    tags: dict[Any, str]
    problems: dict[Any, str]
    several: frozenset[Any] = frozenset()

    @classmethod
    def of(
        cls, cells: Iterable[Any], names: Sequence[str] | None = None, *, first_of_several: bool = False
    ) -> "TagForm":
        """Recognises the form of a column or file.

        Args:
            cells: its different cells; numbers are integers, or strings of digits alone.
            names: the tags that numbers from 0 stand for.
            first_of_several: read the first of several tags in a cell, which is a problem otherwise.
        """
        known = list(dict.fromkeys(cells))
        trimmed = {cell: _trimmed(cell) for cell in known}
        if any(cell is not inner and cell != inner for cell, inner in trimmed.items()):  # nan is not nan
            form = cls.of(trimmed.values(), names, first_of_several=first_of_several)
            return form._expanded(trimmed)
        if UNKNOWN in known and len(known) > 1:  # only beside tags; alone it is punctuation
            others = [cell for cell in known if cell != UNKNOWN]
            form = cls.of(others, names, first_of_several=first_of_several)
            return form._replace(tags=form.tags | {UNKNOWN: UNKNOWN})
        inside = [cell for cell in known if cell not in OUTSIDES]
        if inside and all(_is_number(cell) for cell in inside):
            return _numbered(known, names)
        tags: dict[Any, str] = {cell: OUTSIDE for cell in known if cell in OUTSIDES}
        firsts = {cell: _first(cell) for cell in inside if isinstance(cell, str)}
        kind, read = reading(list(firsts.values()), has_outside=bool(tags))
        problems: dict[Any, str] = {}
        other = rare_prefix(list(firsts))
        several = set()
        for cell in inside:
            tag = read(firsts[cell]) if cell in firsts and not _look_alike(cell) else None
            if kind == "bare" and str(cell).lower() in _NO_TYPES:
                tag = None
            if tag is None:
                problems[cell] = _malformed(cell, other)
                continue
            if firsts[cell] != cell:
                several.add(cell)
                if not first_of_several:
                    problems[cell] = (
                        f"{cell!r} contains two tags; write one of them, "
                        "or set data.files.several_tags to first"
                    )
                    continue
            tags[cell] = tag
        return cls(kind, tags, problems, frozenset(several))

    def _expanded(self, trimmed: Mapping[Any, Any]) -> "TagForm":
        """The form of cells, from that of the same cells as they are trimmed."""
        tags, problems = (
            {cell: found[inner] for cell, inner in trimmed.items() if inner in found}
            for found in (self.tags, self.problems)
        )
        several = frozenset(cell for cell, inner in trimmed.items() if inner in self.several)
        return self._replace(tags=tags, problems=problems, several=several)

    def said(self, counts: Mapping[Any, int], renamed: Collection[str] = ()) -> list[str]:
        """Lines on what was read otherwise than it is written; none if the tags are plain.

        Args:
            counts: how often each cell occurs.
            renamed: the types that get another name or are left out.
        """
        lines = []
        odd = [cell for cell in self.tags if cell in OUTSIDES and cell != OUTSIDE and self.kind != "numbers"]
        if odd:
            total = sum(counts.get(cell, 0) for cell in odd)
            lines.append(f"{' and '.join(map(repr, odd))} of {total:,} words are read as O")
        if UNKNOWN in self.tags:
            lines.append(f"{counts.get(UNKNOWN, 0):,} words have the tag '?': it is unknown")
        inside = [cell for cell, tag in self.tags.items() if tag not in (OUTSIDE, UNKNOWN)]
        if ends := [cell for cell in self.tags if cell != _trimmed(cell)]:
            total = sum(counts.get(cell, 0) for cell in ends)
            lines.append(
                f"{total:,} tags such as {ends[0]!a} are read without what is invisible at their ends"
            )
        if self.kind == "bare":
            lines.append(
                f"types without B- and I- ({listed(inside, 4)}): neighbouring words of one type are read as "
                "one entity"
            )
            lines += [
                f"{cell} is read as a type; if it means O, leave it out: data.files.rename_types {cell}="
                for cell in inside
                if cell.lower() in _MAYBE_TYPES and cell not in renamed
            ]
        elif self.kind in ("prefix", "suffix"):
            changed = next(cell for cell in inside if cell != self.tags[cell])
            lines.append(f"tags such as {changed} are read as {self.tags[changed]}")
        if self.several and not self.several & self.problems.keys():
            total = sum(counts.get(cell, 0) for cell in self.several)
            lines.append(f"{total:,} words have several tags; the first of each is read")
        return lines


def _trimmed(cell: Any) -> Any:
    return visible(cell) if isinstance(cell, str) else cell


def _is_number(cell: Any) -> bool:
    return type(cell) is int or (isinstance(cell, str) and cell.isdecimal())


def _numbered(cells: Sequence[Any], names: Sequence[str] | None) -> TagForm:
    tags: dict[Any, str] = {}
    problems: dict[Any, str] = {}
    for cell in cells:
        number = int(cell) if _is_number(cell) else -1
        if number < 0:
            is_outside = cell in OUTSIDES
            tags |= {cell: OUTSIDE} if is_outside else {}
            problems |= {} if is_outside else {cell: _malformed(cell)}
        elif names is None:
            problems[cell] = _UNNAMED.format(cell)
        elif number < len(names):
            tags[cell] = TagForm.of(names).tags.get(names[number], names[number])
        else:
            problems[cell] = (
                f"the tag {cell!r:.40} has no name: data.files.tag_names has {len(names)} "
                f"names, for 0 to {len(names) - 1}"
            )
    return TagForm("numbers", tags, problems)


def _first(cell: str) -> str:
    """The first of several tags in a cell; the cell itself if there is one."""
    parts = _SEVERAL.split(cell)
    inside = [part for part in parts if part not in ("O", "o")]
    if len(parts) == 1 or not all(map(PREFIX.fullmatch, inside)):
        return cell
    # The letters of tags are all large or all small: B-phone/e-mail is one tag.
    is_one = len({part[0].isupper() for part in inside}) > 1
    return cell if is_one else next(iter(inside), OUTSIDE)


def _look_alike(cell: str) -> str:
    """What a cell is in Latin letters if its first one only looks like that of a tag; empty otherwise."""
    latin = cell[:1].translate(_LOOK_ALIKE) + cell[1:]
    return latin if latin != cell and (latin in OUTSIDES or PREFIX.fullmatch(latin)) else ""


def _malformed(cell: Any, other: str = "") -> str:
    """What is wrong with a cell; `other` is the tag with a prefix where most have none."""
    if cell == -100:
        return "tag -100 masks sub-tokens in a loss; take the data as they were before tokenization"
    if type(cell) is int and cell < 0:
        return f"tag {cell} has no name; is the split published without its tags?"
    if type(cell) is int:
        return _UNNAMED.format(cell)
    if not isinstance(cell, str):
        return f"the tag {cell!r:.40} is no text; write tag names, in quotes"
    if latin := _look_alike(cell):
        letter = f"{name(cell[0])}, U+{ord(cell[0]):04X}"
        return f"the tag {cell!r} begins with {letter}; write {latin} in Latin letters"
    if cell.lower() in _NO_TYPES:
        return f"the tag {cell!r} names no entity type; write O outside of entities, ? where nothing is known"
    if cell in ("B", "I", "E", "S"):
        return f"the tag {cell!r} names no entity type; {_FORM}"
    if other and bare(cell) and not PREFIX.fullmatch(cell):
        return f"the tag {cell!r} has no B- or I-, but {other!r} has; write all tags with them, or none"
    return f"malformed tag {cell!r}; {_FORM}"
