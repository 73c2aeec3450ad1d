"""WebAnno TSV's header and cells: which columns there are, which one has the entities, what a cell says."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ner_lightning.errors import UserError

FIRST = 3  # columns before those of the layers: the token's number, its offsets, the token
_FORMAT = re.compile(r"#FORMAT=WebAnno TSV (\d+)")
_LAYER = re.compile(r"#T_(SP|CH|RL)=(.+)")
_UNESCAPED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "b": "\b"}
_STACKED = re.compile(r"(?:\\.|[^\\|]|\\$)+", re.DOTALL)
_VALUE = re.compile(r"((?:\\.|[^\\])*?)(?:\[(\d+)\])?", re.DOTALL | re.ASCII)
_NAMED_ENTITY = "namedentity"
_LINGUISTIC = frozenset({"POS", "Lemma", "MorphologicalFeatures", "Token", "Sentence", "Stem", "Chunk"})
_TYPE = re.compile(r"[^\W\d_][\w./ -]{0,39}")
_MAX_TYPES = 100  # of a feature with entity types; one with lemmas or comments has more
_BOOLEAN = frozenset({"true", "false"})
_NAME_IT = "name the layer or the feature with data.files.tags_column"


class AnnotationColumn(NamedTuple):
    """A column of annotation.

    Attributes:
        number: its number in the file, from 0.
        kind: SP for a layer of spans, CH for chains, RL for relations.
        layer: the layer's full name, as in `webanno.custom.Place`.
        feature: the feature; empty if the layer has none.
    """

    number: int
    kind: str
    layer: str
    feature: str

    @property
    def short_layer(self) -> str:
        """The layer's name without the parts before the last dot."""
        return self.layer.rpartition(".")[2]

    @property
    def name(self) -> str:
        """The layer and the feature, as in `NamedEntity|value`."""
        return f"{self.short_layer}|{self.feature}" if self.feature else self.short_layer

    @property
    def is_span_feature(self) -> bool:
        """Whether its values belong to spans: it is neither a relation nor a slot of a span."""
        return self.kind == "SP" and not self.feature.startswith("ROLE_") and "." not in self.feature


def is_webanno(lines: Sequence[str]) -> bool:
    """Whether a file is WebAnno TSV: its first line that is not blank says so.

    Args:
        lines: the first lines of the file.
    """
    return _FORMAT.match(_first(lines)) is not None


def check_version(lines: Sequence[str]) -> None:
    """Checks that a file is WebAnno TSV 3.

    Raises:
        UserError: it is not.
    """
    version = _FORMAT.match(_first(lines))
    if version is None:
        raise UserError("not WebAnno TSV 3: the first line must be #FORMAT=WebAnno TSV 3.3, or another 3.x")
    if version[1] != "3":
        raise UserError(f"WebAnno TSV {version[1]} is not read; export the document as WebAnno TSV v3.3")


def _first(lines: Iterable[str]) -> str:
    return next((line for line in lines if line.strip()), "").removeprefix("\ufeff")


def header_columns(lines: Iterable[str]) -> list[AnnotationColumn]:
    """The columns that the lines of a header name."""
    columns: list[AnnotationColumn] = []
    for line in lines:
        match = _LAYER.fullmatch(line.strip())
        if match is not None:
            layer, *features = match[2].split("|")
            for feature in features or [""]:
                columns.append(AnnotationColumn(FIRST + len(columns), match[1], layer, feature))
    return columns


def stacked_values(cell: str) -> list[tuple[str | None, str | None]]:
    r"""The annotations in a cell.

    Returns:
        For each its value, None for one without a value (`*`), and its id, None for one that is alone on
        its token. `PER[1]|\_[2]` has the values `PER` and `_`.
    """
    if cell in ("_", ""):
        return []
    values: list[tuple[str | None, str | None]] = []
    for piece in _STACKED.findall(cell):
        match = _VALUE.fullmatch(piece)
        value, number = (piece, None) if match is None else (match[1], match[2])
        values.append((None if value.strip() in ("*", "") else unescaped(value), number))
    return values


def unescaped(text: str) -> str:
    r"""A text without its escapes, such as `\_` and `\t`."""
    return re.sub(r"\\(.)", lambda match: _UNESCAPED.get(match[1], match[1]), text, flags=re.DOTALL)


def entity_column(
    columns: Sequence[AnnotationColumn], values: Mapping[int, Counter[str]], wanted: str | None
) -> AnnotationColumn:
    """The column with the entity types.

    Args:
        columns: the columns of the file.
        values: how often each value occurs in a column, by its number.
        wanted: a layer or a feature; None: the feature `value` of the layer `NamedEntity`, or the only
            feature of a layer of spans whose values look like types.

    Raises:
        UserError: there is none, or several.
    """
    spans = [column for column in columns if column.is_span_feature]
    if not spans:
        raise UserError("no layer of spans (#T_SP=) in the header; export the entities' layer as well")
    if wanted is not None:
        pool = [column for column in spans if wanted in _names(column)]
        if not pool:
            raise UserError(f"no layer or feature {wanted!r}; {_NAME_IT} ({_listed(spans)})")
    else:
        pool = [column for column in spans if _NAMED_ENTITY in column.short_layer.lower()]
    if pool:
        by_name = [column for column in pool if column.feature == "value"]
        candidates = by_name or pool
    else:
        pool = [column for column in spans if column.feature and column.short_layer not in _LINGUISTIC]
        typed = [column for column in pool if _look_like_types(values.get(column.number, Counter()))]
        unused = [column for column in pool if not values.get(column.number)]
        candidates = typed or (unused if len(pool) == len(unused) else [])
    if len(candidates) != 1:
        several = f"several features may hold the entities; {_NAME_IT} ({_listed(candidates)})"
        none = f"no feature has values that look like entity types; {_NAME_IT} ({_listed(spans)})"
        raise UserError(several if candidates else none)
    return candidates[0]


def _names(column: AnnotationColumn) -> tuple[str, ...]:
    """What a user may call a column."""
    full = f"{column.layer}|{column.feature}"
    return column.layer, column.short_layer, column.feature, column.name, full


def _listed(columns: Iterable[AnnotationColumn]) -> str:
    return ", ".join(column.name for column in columns)


def _look_like_types(values: Counter[str]) -> bool:
    """Whether values look like entity types: few short names, not numbers, addresses or texts."""
    return (
        0 < len(values) <= _MAX_TYPES
        and not values.keys() <= _BOOLEAN
        and all(_TYPE.fullmatch(value) for value in values)
    )
