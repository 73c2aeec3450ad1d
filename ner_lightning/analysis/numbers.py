"""Numbers with as many decimals as their interval justifies."""

from collections.abc import Sequence

from ner_lightning.analysis.resampling import Interval


def decimals(*intervals: Interval) -> int:
    """Decimals that the widest of some intervals justifies: two from a width of 0.02, else three or four."""
    width = max((each.high - each.low for each in intervals), default=0.0)
    return 2 if width >= 0.02 or width == 0 else 3 if width >= 0.002 else 4


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, as in `A`, `A and B`, `A, B and C`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def bounds(interval: Interval, places: int | None = None) -> str:
    """The bounds, as in `0.78 to 0.86`; `-` if there is no interval, as of entities that are all correct."""
    places = decimals(interval) if places is None else places
    if interval.low == interval.high:
        return "-"
    return f"{rounded(interval.low, places)} to {rounded(interval.high, places)}"


def rounded(value: float, places: int, sign: str = "") -> str:
    """A number with some decimals, and no minus before zero; `sign` is `+` for a difference."""
    return f"{round(value, places) + 0.0:{sign}.{places}f}"


def with_bounds(interval: Interval, places: int | None = None) -> str:
    """The value and its bounds, as in `0.82 (0.78 to 0.86)`."""
    places = decimals(interval) if places is None else places
    known = bounds(interval, places) if interval.low < interval.high else "no interval"
    return f"{interval.value:.{places}f} ({known})"


def difference_decimals(interval: Interval) -> int:
    """Decimals of a difference: as many more, up to six, as leave something of it."""
    places = decimals(interval)
    while places < 6 and interval.value and round(interval.value, places) == 0:
        places += 1
    return places
