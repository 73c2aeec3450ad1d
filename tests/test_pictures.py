"""The pictures of the docs: texts with entities, and the curves of the dashboard."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import draw_entities
import draw_panels

ROOT = Path(__file__).parent.parent
RECORD = {
    "text": "Vera Holt left <Lima> & Bergen.",
    "entities": [{"start": 0, "end": 9, "label": "PER"}, {"start": 24, "end": 30, "label": "LOC"}],
}


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_entities_and_words_are_drawn_in_their_order(tmp_path):
    source, target = tmp_path / "found.jsonl", tmp_path / "picture.svg"
    source.write_text(json.dumps(RECORD) + "\n", encoding="utf-8")
    assert draw_entities.main([str(source), str(target)]) == 0
    drawn = texts(target.read_text(encoding="utf-8"))
    assert drawn == ["Vera Holt", "PER", "left", "<Lima>", "&", "Bergen", "LOC", "."]


def test_a_long_text_is_broken_into_lines():
    long = {"text": "word " * 40, "entities": []}
    svg = draw_entities.svg([long])
    rows = set(re.findall(r'y="(\d+)"', svg))
    assert len(rows) == 3
    assert max(float(x) for x in re.findall(r'<text x="([\d.]+)"', svg)) < 84 * 17


def test_the_readme_shows_what_its_code_prints():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    drawn = texts((ROOT / "docs" / "entities.svg").read_text(encoding="utf-8"))
    printed = re.search(r"```text\n(.*?)```", readme, flags=re.S)[1].splitlines()
    for line in printed:
        kind, name, score = re.fullmatch(r"(\w+) (.+) ([01]\.\d\d)", line).groups()
        assert drawn[drawn.index(name) + 1] == kind
        assert name in re.search(r'tagger\("(.*?)"\)', readme)[1]
        assert 0 < float(score) <= 1


def test_the_curves_of_the_dashboard_are_drawn_from_the_files_of_runs(tmp_path):
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        lines = ["step,val/f1,train/loss,val/f1/PER,lr/head", "1,,2.0,,0.1", f"2,0.{seed},1.0,0.5,0.2"]
        (tmp_path / str(seed) / "metrics.csv").write_text("\n".join(lines), encoding="utf-8")
    runs = [draw_panels.read(tmp_path / str(seed)) for seed in (1, 2)]
    figure = draw_panels.panels(runs)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "Quality: F1",
        "By type: F1",
        "Optimisation: Loss, and its parts",
        "Optimisation: Learning rates",
    ]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 2, 2]
    assert figure.axes[0].lines[1].get_xydata().tolist() == [[2.0, 0.2]]
    assert draw_panels.main([str(tmp_path / "p.svg"), str(tmp_path / "1")]) == 0
    ElementTree.parse(tmp_path / "p.svg")
