"""Scores by threshold against brute force, and their section in the report."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_lightning.analysis.experiment import find_experiment
from ner_lightning.analysis.render.blocks import Fold, Table
from ner_lightning.analysis.report.assemble import report_blocks
from ner_lightning.analysis.rows import LEAST, Predictions, Row, read_predictions
from ner_lightning.analysis.thresholds import THRESHOLDS, by_threshold, counted, selected
from ner_lightning.data.schemes import to_bio2
from ner_lightning.errors import UserError
from ner_lightning.metrics.from_counts import scores

TYPES = ("X", "Y")
WORDS = 4
PLACES = [(t, a, b) for t in TYPES for a, b in itertools.combinations(range(WORDS + 1), 2)]
VALUES = st.one_of(st.floats(LEAST, 1), st.sampled_from(THRESHOLDS))


@st.composite
def lines(draw):
    """A line of a prediction file: gold entities, and candidates as the CRF or a softmax has them."""
    taken, gold = set(), []
    for place in draw(st.lists(st.sampled_from(PLACES), max_size=3)):
        if taken.isdisjoint(range(*place[1:])):
            taken.update(range(*place[1:]))
            gold.append(place)
    found = draw(st.dictionaries(st.sampled_from(PLACES), VALUES, max_size=8))
    softmax = draw(st.booleans())
    candidates = [
        [*place, value, *([value * draw(st.floats(0, 1))] if softmax else [])]
        for place, value in sorted(found.items(), key=lambda pair: pair[0][1:])
    ]
    tags = to_bio2(gold, WORDS)
    return {"words": ["w"] * WORDS, "gold": tags, "predicted": tags, "candidates": candidates}


def brute(line, least):
    """What remains if the most probable candidate is chosen again and again."""
    remaining = [each for each in line["candidates"] if each[3] >= least[each[0]]]
    chosen = []
    while remaining:
        top = max(remaining, key=lambda each: each[-1])  # the first of equal ones
        chosen.append(tuple(top[:3]))
        remaining = [each for each in remaining if each[2] <= top[1] or top[2] <= each[1]]
    return set(chosen)


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(lines(), min_size=1, max_size=4))
def test_counts_are_those_of_brute_force(drawn):
    rows = [Row.of(line) for line in drawn]
    found = by_threshold(Predictions(rows, "marginal", {"X": {}, "Y": {}}))
    for index, threshold in enumerate(THRESHOLDS):
        expected = np.zeros((2, 3), dtype=int)
        for line, row in zip(drawn, rows, strict=True):
            chosen = brute(line, dict.fromkeys(TYPES, threshold))
            gold = set(map(tuple, row.gold))
            for column, entities in enumerate((chosen & gold, chosen, gold)):
                for entity in entities:
                    expected[TYPES.index(entity[0]), column] += 1
        assert found.counts[index].tolist() == expected.tolist()
        assert found.scores()[index] == scores(expected.sum(0))
        assert found.scores("Y")[index] == scores(expected[1])
    for name in (None, *TYPES):
        values = [each.f1 for each in found.scores(name)]
        nearest = min(
            abs(t - 0.5) for t, value in zip(THRESHOLDS, values, strict=True) if value == max(values)
        )
        assert values[found.best(name)] == max(values)
        assert abs(THRESHOLDS[found.best(name)] - 0.5) == nearest


@settings(deadline=None)
@given(lines(), VALUES, VALUES)
def test_each_type_may_have_a_threshold_of_its_own(line, one, other):
    least = {"X": one, "Y": other}
    row = Row.of(line)
    assert set(map(tuple, selected(row, least))) == brute(line, least)
    assert counted([row], least)[:, 1].sum() == len(brute(line, least))


def write(folder, lines, split="valid"):
    folder.mkdir(exist_ok=True)
    file = folder / f"predictions.{split}.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


GOLD = ["B-X", "I-X", "O", "B-Y"]
LINE = {
    "words": ["a", "b", "c", "d"],
    "gold": GOLD,
    "predicted": ["O", "O", "O", "B-Y"],
    "entities": [{"type": "Y", "start": 3, "end": 4, "marginal": 0.9}],
    "candidates": [["X", 0, 2, 0.32], ["X", 1, 2, 0.11], ["Y", 3, 4, 0.9]],
}


def texts(blocks):
    parts = []
    for block in blocks:
        if isinstance(block, Table):
            parts.append("\n".join(map("|".join, block.rows)))
        elif isinstance(block, Fold):
            parts += [block.title, texts(block.blocks)]
        else:
            parts.append(getattr(block, "text", ""))
    return "\n".join(parts)


def test_the_report_names_the_best_thresholds(tmp_path):
    file = write(tmp_path / "run", [LINE] * 3)
    said = texts(report_blocks([find_experiment(str(file), tmp_path)]))
    assert "Precision, recall and F1 by threshold" in said
    assert "0.30|1.000|1.000|1.000|best threshold" in said
    assert "0.05|1.000|1.000|1.000|\n" in said
    assert "0.35|1.000|0.500|0.667|\n" in said
    assert "best tag sequence|1.000|0.500|0.667|" in said
    assert "all types|each type its own|1.000|1.000|1.000" in said
    assert "optimistic" in said
    assert said.endswith("--min_score 0.30"), "thresholds of their own gain nothing more"


def test_thresholds_that_gain_nothing_are_not_recommended(tmp_path):
    tags = ["B-X", "O", "O", "B-Y"]
    line = {"words": ["w"] * 4, "gold": tags, "predicted": tags}
    line["entities"] = [
        {"type": t, "start": a, "end": a + 1, "marginal": 0.4} for t, a in (("X", 0), ("Y", 3))
    ]
    line["candidates"] = [["X", 0, 1, 0.4, 0.4], ["X", 1, 2, 0.5, 0.5]]  # and no Y
    file = write(tmp_path / "run", [line] * 3)
    said = texts(report_blocks([find_experiment(str(file), tmp_path)]))
    assert "None of them has a higher F1 than no threshold, 1.000: leave them out." in said
    assert "Y|0.50|" not in said, "no threshold finds one"
    assert "--min_score 0." not in said


def test_a_file_without_candidates_or_of_the_test_set_has_no_such_section(tmp_path):
    old = {name: value for name, value in LINE.items() if name != "candidates"}
    for lines, split in (([old], "valid"), ([LINE, old], "valid"), ([LINE], "test")):
        file = write(tmp_path / f"{split}{len(lines)}", lines, split)
        assert "by threshold" not in texts(report_blocks([find_experiment(str(file), tmp_path)]))


@pytest.mark.parametrize("bad", [[["X", 0, 2]], [5], "X", [["X", 0, 2, "high"]]])
def test_malformed_candidates_are_named(tmp_path, bad):
    file = write(tmp_path / "run", [LINE | {"candidates": bad}])
    with pytest.raises(UserError, match=r"valid.jsonl:1: not a sentence with its predictions"):
        read_predictions(file)


@pytest.mark.parametrize("value", [17, -0.1, float("nan"), "0.5"])
def test_a_probability_outside_of_its_range_is_named(tmp_path, value):
    line = {"words": ["Vera"], "gold": ["B-PER"], "predicted": ["B-PER"]}
    line["entities"] = [{"type": "PER", "start": 0, "end": 1, "marginal": value}]
    file = tmp_path / "predictions.valid.jsonl"
    file.write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="`marginal` and `softmax_product` must be numbers from 0 to 1"):
        read_predictions(file)


def with_candidates(gold, **found):
    """Lines of one word: those of a type that are right and wrong at a probability."""
    lines = []
    for type_, (right, wrong, probability) in found.items():
        for is_right in [True] * right + [False] * wrong + [None] * (gold[type_] - right):
            line = {
                "words": ["w"],
                "gold": [f"B-{type_}" if is_right is not False else "O"],
                "predicted": ["O"],
            }
            line["entities"] = []
            line["candidates"] = [] if is_right is None else [[type_, 0, 1, probability]]
            lines.append(line)
    return lines


def test_thresholds_by_type_are_named_only_where_they_are_better_than_one(tmp_path):
    lines = with_candidates({"A": 20, "B": 10}, A=(16, 2, 0.9), B=(3, 57, 0.06))
    file = write(tmp_path / "run", lines)
    said = texts(report_blocks([find_experiment(str(file), tmp_path)]))
    assert "B|0.05|" in said
    command = next(line for line in said.splitlines() if line.startswith("ner-lightning predict"))
    assert "--min_score 0." in command
    assert "'A=" not in command


def test_thresholds_by_type_are_named_where_they_are_better(tmp_path):
    lines = with_candidates({"A": 16, "B": 10}, A=(16, 0, 0.9), B=(10, 0, 0.06))
    lines += with_candidates({"A": 0}, A=(0, 60, 0.06))
    said = texts(report_blocks([find_experiment(str(write(tmp_path / "run", lines)), tmp_path)]))
    assert "all types|each type its own|1.000|1.000|1.000" in said
    assert " --min_score 'A=" in said
    assert " --min_score 'B=0.05'" in said
