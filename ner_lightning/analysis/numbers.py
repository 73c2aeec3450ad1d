"""Numbers with as many decimals as their interval justifies."""

from ner_lightning.analysis.resampling import Interval


def decimals(*intervals: Interval) -> int:
    """Decimals that the widest of some intervals justifies: two from a width of 0.02, else three or four."""
    width = max((each.high - each.low for each in intervals), default=0.0)
    return 2 if width >= 0.02 or width == 0 else 3 if width >= 0.002 else 4


def bounds(interval: Interval, places: int | None = None) -> str:
    """The bounds, as in `0.78 to 0.86`."""
    places = decimals(interval) if places is None else places
    return f"{interval.low:.{places}f} to {interval.high:.{places}f}"


def with_bounds(interval: Interval, places: int | None = None) -> str:
    """The value and its bounds, as in `0.82 (0.78 to 0.86)`."""
    places = decimals(interval) if places is None else places
    return f"{interval.value:.{places}f} ({bounds(interval, places)})"


def difference_decimals(interval: Interval) -> int:
    """Decimals of a difference: one more if otherwise nothing of it was left."""
    places = decimals(interval)
    return places + 1 if round(interval.value, places) == 0 and interval.value else places
