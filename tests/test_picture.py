"""The README's picture: texts, types and places as `predict` wrote them."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import draw_entities

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
