import re

import numpy as np

from ner_lightning.analysis.failure import ErrorClass
from ner_lightning.analysis.render import heat_maps, plots, style
from ner_lightning.analysis.render.style import svg
from ner_lightning.metrics.from_counts import Scores

HISTORY = {
    step: {"train/loss": 3.0 / step**2, "val/f1": f1, "val/loss": 0.2, "epoch": epoch}
    for epoch, (step, f1) in enumerate([(1, 0.3), (5, 0.5), (20, 0.7), (60, 0.6)])
}


def test_no_formula_is_left_in_a_picture(monkeypatch):
    """Formulas are switched off, because a type may hold a dollar sign; so axes must not use any."""
    monkeypatch.setitem(style.SETTINGS, "svg.fonttype", "none")  # text stays text
    text = svg(plots.losses(HISTORY, ["train/loss"]))
    assert "loss per word" in text
    assert ">0.01<" in text
    assert "$" not in text
    types = ["A$B$", "C"]
    table = {("A$B$", "C"): 3, ("C", "C"): 4, ("nothing", "C"): 1}
    assert ">A$B$<" in svg(heat_maps.confusion(table, types))


def test_a_picture_is_the_same_at_every_call():
    table = {("A", "A"): 3, ("A", "nothing"): 1}
    first, second = (svg(heat_maps.confusion(table, ["A"])) for _ in range(2))
    assert first == second


def test_the_best_validation_is_marked_in_both_curves_on_one_scale():
    pair = [plots.validations(HISTORY, 20), plots.losses(HISTORY, ["train/loss"], 20)]
    (scores,), (losses,) = (figure.axes for figure in pair)
    assert scores.get_xlim() == losses.get_xlim()
    assert scores.get_xlim()[0] == 0
    for axes in (scores, losses):
        marks = [line for line in axes.get_lines() if line.get_label() == "best: epoch 3"]
        assert [list(mark.get_xdata()) for mark in marks] == [[20, 20]]
    assert ([20], [0.7]) in [(list(line.get_xdata()), list(line.get_ydata())) for line in scores.get_lines()]


def test_signs_have_colours_of_their_own_and_zero_none():
    values = np.array([[0.8, -0.4], [0.0, -0.8]])
    (axes,) = heat_maps.transitions(values, ["O", "B-X"], np.array([[True, True], [True, True]])).axes
    shades = {(patch.get_facecolor()[:3], round(patch.get_alpha(), 2)) for patch in axes.patches}
    up, down = (tuple(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)) for c in (style.UP, style.DOWN))
    assert {(up, 0.9), (down, 0.9), (down, 0.45)} <= shades
    assert {shade for _, shade in shades} == {0.0, 0.45, 0.9}
    assert [text.get_text() for text in axes.texts] == ["+0.8", "-0.4", "0", "-0.8"]


def test_a_matrix_of_many_tags_stays_as_wide_as_a_phone():
    tags = [f"B-TYPE{number}" for number in range(40)]
    figure = heat_maps.transitions(np.eye(40), tags, np.ones((40, 40), dtype=bool))
    assert figure.get_figwidth() == style.WIDTH
    assert not figure.axes[0].texts


def test_every_colour_has_one_for_dark_pages():
    """A colour that is left out would be dark on dark."""
    classes = [ErrorClass("missed", 3, 0, 3, 0.1), ErrorClass("spurious", 2, 2, 0, 0.1)]
    values = np.array([[0.8, -0.4], [0.1, -0.8]])
    for figure in (
        plots.error_classes(classes),
        plots.validations(HISTORY, 20),
        heat_maps.transitions(values, ["O", "B-X"], np.ones((2, 2), dtype=bool)),
    ):
        text = svg(figure)
        dark = text[text.index("prefers-color-scheme:dark") : text.index("</style>")]
        used = set(re.findall(r'style="[^"]*?((?:fill|stroke): #[0-9a-f]{6})', text))
        assert used
        assert [colour for colour in used if f'"{colour}"' not in dark] == []


def test_scores_by_threshold_are_told_apart_without_colour():
    rows = [Scores(0.5 + step / 10, 0.9 - step / 10, 0.6) for step in range(4)]
    (axes,) = plots.by_threshold([0.2, 0.4, 0.6, 0.8], rows, 2).axes
    lines = axes.get_lines()
    assert [line.get_label() for line in lines[:3]] == ["F1", "precision", "recall"]
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines[:3]}) == 3
    assert list(lines[3].get_xdata()) == [0.6, 0.6]
