"""Selection: entities predicted by their probability, instead of those of the best tag sequence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from ner_lightning.data.overlap_resolution import overlapped
from ner_lightning.errors import UserError
from ner_lightning.model.entity_spans import CandidateSpan, EntitySpan
from ner_lightning.system.ranges import Probability, RangeError
from ner_lightning.system.terminal import shortlist

MinScore = float | Mapping[str, float] | None
Overlaps = Literal["resolve", "keep"] | None
_OVERLAPS = ("resolve", "keep")
OTHERS = "*"  # instead of a type: all types that are not named


class CallOptions(TypedDict, total=False):
    """The options of a call of a tagger; see `NERTagger.__call__`."""

    marginals: bool
    n_best: int
    min_score: MinScore
    overlaps: Overlaps


@dataclass(frozen=True)
class Selection:
    """Predicts every entity of at least a given probability.

    Attributes:
        min_scores: the least probability of each entity type, in the tagger's order.
        overlaps: `resolve` leaves out an entity that shares words with a more probable one; `keep` returns it
            too, apart from the others.
    """

    min_scores: tuple[float, ...]
    overlaps: Literal["resolve", "keep"] = "resolve"

    @property
    def keeps(self) -> bool:
        """Whether entities that overlap more probable ones are returned."""
        return self.overlaps == "keep"

    def split(self, candidates: Sequence[CandidateSpan]) -> tuple[list[EntitySpan], list[EntitySpan] | None]:
        """The entities of a sentence, which share no words; and the other ones, None unless they are kept."""
        left_out = overlapped([each[1:3] for each in candidates], [each.priority for each in candidates])
        parts: tuple[list[EntitySpan], list[EntitySpan]] = [], []
        for each, is_overlapped in zip(candidates, left_out, strict=True):
            parts[is_overlapped].append(EntitySpan(*each[:4]))
        return parts[0], parts[1] if self.keeps else None


def selection(
    min_score: MinScore,
    overlaps: Overlaps,
    types: Sequence[str],
    default: Selection | None = None,
) -> Selection | None:
    """The selection that a caller asks for; None for the entities of the best tag sequence.

    Args:
        min_score: one number for all types, or one for each, where `*` stands for those not named; None takes
            the default's.
        overlaps: None takes the default's; without any, `resolve`.
        types: the tagger's entity types.
        default: what holds if nothing is asked for.

    Raises:
        UserError: a number is outside its range, a type is unknown or has none, or `overlaps` has no effect.
    """
    if overlaps is not None and overlaps not in _OVERLAPS:
        raise UserError(f"overlaps is {overlaps!r:.40}; it must be {' or '.join(_OVERLAPS)}")
    if min_score is None and default is None:
        if overlaps is not None:
            raise UserError(f"overlaps={overlaps} has no effect without min_score: one word has one tag")
        return None
    inherited = Selection(()) if default is None else default
    scores = inherited.min_scores if min_score is None else _of_types(min_score, types)
    return Selection(scores, overlaps or inherited.overlaps)


def _of_types(min_score: float | Mapping[str, float], types: Sequence[str]) -> tuple[float, ...]:
    if not isinstance(min_score, Mapping):
        return (_checked("min_score", min_score),) * len(types)
    values = {str(name): _checked(f"min_score of {name}", value) for name, value in min_score.items()}
    unknown = [name for name in values if name != OTHERS and name not in types]
    if unknown:
        raise UserError(f"min_score names {shortlist(unknown)}; the entity types are {shortlist(types)}")
    missing = [name for name in types if name not in values]
    if missing and OTHERS not in values:
        raise UserError(f"min_score has no number for {shortlist(missing)}; give one, or one for all others")
    return tuple(values.get(name, values.get(OTHERS, 1.0)) for name in types)


def _checked(name: str, value: object) -> float:
    try:
        return float(Probability(value))  # type: ignore[arg-type]
    except RangeError as error:
        raise UserError(f"{name} {error}") from None


def read_min_score(options: Sequence[str]) -> dict[str, float]:
    """The values of `--min_score`: numbers for all types, and TYPE=X for one; the last one counts.

    Raises:
        UserError: a value is not such, or outside its range.
    """
    values = {}
    for option in options:
        name, is_of_type, number = option.rpartition("=")
        if is_of_type and not name:
            raise UserError(f"--min_score {option} names no type; write TYPE=X, or X for all types")
        values[name or OTHERS] = _checked(f"--min_score {name}".rstrip(), number)
    return values
