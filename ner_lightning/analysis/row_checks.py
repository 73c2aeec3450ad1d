"""Checks a line of a prediction file, for a user may name any file."""

PROBABILITY_NAMES = ("marginal", "softmax_product")
ROUNDING = 1e-3  # by which a sum of probabilities may exceed 1


def check_line(line: object) -> None:
    """Checks the shape of a line.

    Raises:
        ValueError: it is not a sentence with gold and predicted tags.
    """
    if not isinstance(line, dict):
        raise ValueError('write an object: {"words": [...], "gold": [...], "predicted": [...]}')
    for name in ("words", "gold", "predicted"):
        if not _is_list_of(line.get(name), str):
            raise ValueError(f"`{name}` must be a list of texts")
    entities = line.get("entities", [])
    if not _is_list_of(entities, dict) or not all(
        _is_entity(each.get("type"), each.get("start"), each.get("end")) for each in entities
    ):
        raise ValueError("`entities` must be a list of objects, each with `type`, `start` and `end`")
    if not all(
        _is_probability(each[name]) for each in entities for name in PROBABILITY_NAMES if name in each
    ):
        raise ValueError(f"`{'` and `'.join(PROBABILITY_NAMES)}` must be numbers from 0 to 1")
    candidates = line.get("candidates", [])
    if not _is_list_of(candidates, list) or not all(
        len(each) > 3 and _is_entity(*each[:3]) and all(map(_is_probability, each[3:])) for each in candidates
    ):
        raise ValueError("`candidates` must be a list of lists, each of type, start, end and probability")
    if not isinstance(line.get("document"), int | str | None):
        raise ValueError("`document` must be a number or a name")


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


def _is_entity(type_: object, start: object, end: object) -> bool:
    return isinstance(type_, str) and isinstance(start, int) and isinstance(end, int)


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and -ROUNDING <= value <= 1 + ROUNDING
