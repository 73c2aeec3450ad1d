from ner_lightning.analysis.render import plots
from ner_lightning.metrics.from_counts import Scores


def test_no_formula_is_left_in_a_picture(monkeypatch):
    """Formulas are switched off, because a type may hold a dollar sign; so axes must not use any."""
    monkeypatch.setitem(plots.SETTINGS, "svg.fonttype", "none")  # text stays text
    history = {step: {"train/loss": 3.0 / step**2, "val/f1": 0.5, "val/loss": 0.2} for step in (1, 5, 20, 60)}
    text = plots.svg(plots.curves(history, ["train/loss"]))
    assert "Loss per word" in text
    assert ">0.01<" in text
    assert "$" not in text
    types = ["A$B$", "C"]
    table = {("A$B$", "C"): 3, ("C", "C"): 4, ("nothing", "C"): 1}
    assert ">A$B$<" in plots.svg(plots.confusion(table, types))


def test_a_picture_is_the_same_at_every_call():
    table = {("A", "A"): 3, ("A", "nothing"): 1}
    first, second = (plots.svg(plots.confusion(table, ["A"])) for _ in range(2))
    assert first == second


def test_scores_by_threshold_are_told_apart_without_colour():
    rows = [Scores(0.5 + step / 10, 0.9 - step / 10, 0.6) for step in range(4)]
    (axes,) = plots.by_threshold([0.2, 0.4, 0.6, 0.8], rows, 2).axes
    lines = axes.get_lines()
    assert [line.get_label() for line in lines[:3]] == ["F1", "precision", "recall"]
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines[:3]}) == 3
    assert list(lines[3].get_xdata()) == [0.6, 0.6]
