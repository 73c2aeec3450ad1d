import pytest

from ner_lightning.analysis.numbers import bounds, decimals, difference_decimals, rounded, with_bounds
from ner_lightning.analysis.resampling import Interval


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(0.82139, 0.77119, 0.8715), "0.82 (0.77 to 0.87)"),
        (Interval(0.94876, 0.94391, 0.9535), "0.949 (0.944 to 0.954)"),
        (Interval(0.94876, 0.94826, 0.9492), "0.9488 (0.9483 to 0.9492)"),
    ],
)
def test_decimals_are_those_that_the_interval_justifies(interval, said):
    assert with_bounds(interval) == said
    assert said.endswith(f"({bounds(interval)})")


def test_entities_that_are_all_correct_have_no_interval():
    assert with_bounds(Interval(1.0, 1.0, 1.0)) == "1.00 (no interval)"
    assert bounds(Interval(1.0, 1.0, 1.0)) == "-"


def test_zero_has_no_minus():
    assert rounded(-0.001, 2) == "0.00"
    assert rounded(-0.001, 2, "+") == "+0.00"
    assert bounds(Interval(0.29, -0.0001, 0.5), 2) == "0.00 to 0.50"


def test_the_widest_interval_decides():
    assert decimals(Interval(0.9, 0.899, 0.901), Interval(0.5, 0.4, 0.6)) == 2


def test_a_small_difference_does_not_vanish():
    assert difference_decimals(Interval(0.004, -0.03, 0.04)) == 3
    assert difference_decimals(Interval(0.04, -0.03, 0.1)) == 2
    assert difference_decimals(Interval(0.0004, -0.02, 0.02)) == 4
    assert difference_decimals(Interval(0.0, -0.03, 0.03)) == 2
