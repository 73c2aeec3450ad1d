"""A result prints itself: as a line, as plain values, as a table, and in a notebook."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import taggers

from ner_lightning.data.running_text import from_text
from ner_lightning.inference.result import Entity, Tagged

TEXT = "Vera Holt left Lima."


def tagged(text=TEXT, *labelled):
    entities = []
    for found, label in labelled or (("Vera Holt", "PER"), ("Lima", "LOC")):
        at = text.index(found)
        entities.append(Entity(found, label, at, at + len(found), 0, 1, 0.98765432))
    return Tagged(from_text(text), ("O",) * len(from_text(text).offsets), tuple(entities))


def test_repr_is_one_short_line():
    assert (
        repr(tagged()) == "Tagged('Vera Holt left Lima.', entities=['Vera Holt' PER 0.99, 'Lima' LOC 0.99])"
    )
    assert repr(Tagged(from_text(""), (), ())) == "Tagged('', entities=[])"
    text = "Lima\n" * 1000
    many = tagged(text, *[("Lima", "LOC")] * 1000)
    assert len(repr(many)) < 400
    assert repr(many).startswith(r"Tagged('Lima\nLima\n")
    assert repr(many).endswith("... 990 more])")


def test_results_are_compared_with_their_marginals(llama):
    tagger = taggers.random_tagger(llama)
    with_marginals = [tagger(TEXT, marginals=True) for _ in range(2)]
    assert with_marginals[0] == with_marginals[1]
    assert hash(with_marginals[0]) == hash(with_marginals[1])
    assert with_marginals[0] != tagger(TEXT) == tagger(TEXT)
    others = replace(with_marginals[0], marginals=1 - with_marginals[0].marginals)
    assert with_marginals[0] != others
    assert tagger(TEXT, n_best=2) == tagger(TEXT, n_best=2) != tagger(TEXT, n_best=3)
    assert tagger(TEXT) != TEXT


def test_plain_values(llama):
    values = tagged().to_dict()
    assert values["text"] == TEXT
    assert values["words"] == ["Vera", "Holt", "left", "Lima", "."]
    assert values["tags"] == ["O"] * 5
    assert values["entities"][0] == {
        "text": "Vera Holt",
        "label": "PER",
        "start": 0,
        "end": 9,
        "word_start": 0,
        "word_end": 1,
        "score": 0.987654,
    }
    assert json.loads(tagged().to_json()) == values
    assert "\n" not in tagged("Lima\nLima", ("Lima", "LOC")).to_json()
    found = taggers.random_tagger(llama)(TEXT, marginals=True, n_best=2)
    values = json.loads(found.to_json())
    assert [len(row) for row in values["marginals"]] == [9] * 5
    assert [tuple(path["tags"]) for path in values["paths"]] == [path for path, _ in found.paths]


def test_a_data_frame_has_a_row_per_entity():
    frame = tagged().to_df()
    assert list(frame.columns) == list(Entity._fields)
    assert frame["label"].tolist() == ["PER", "LOC"]
    empty = Tagged(from_text(""), (), ()).to_df()
    assert list(empty.columns) == list(Entity._fields)
    assert [(one.kind, two.kind) for one, two in zip(empty.dtypes, frame.dtypes, strict=True)] == [
        *[("O", "O")] * 2,
        *[("i", "i")] * 4,
        ("f", "f"),
    ]


class Page(HTMLParser):
    """The text of a page, and what is marked in it."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_a_notebook_shows_the_entities_marked_and_everything_escaped():
    text = '<script>alert(1)</script> Vera Holt & "Lima"\x1b\n\ud800 שלום'
    page = tagged(text, ("Vera Holt", "ORG<b>"), ("Lima", "LOC"), ("שלום", "LOC"))._repr_html_()
    page.encode()
    assert "<script" not in page
    assert "\x1b" not in page
    parsed = Page(page)
    assert parsed.tags == ["div", *["mark", "bdi", "b"] * 3]
    assert "".join(parsed.text).startswith('<script>alert(1)</script> Vera HoltORG<b> & "LimaLOC"')
    # One colour a label, another one for each of the usual labels, and none for the text.
    per, *loc = re.findall(r"hsl\((\d+)", page)
    assert loc[0] == loc[1] != per
    labels = [(word, label) for word, label in zip("abcd", ("PER", "ORG", "LOC", "MISC"), strict=True)]
    assert len(set(re.findall(r"hsl\((\d+)", tagged("a b c d", *labels)._repr_html_()))) == 4
    assert set(re.findall(r"\bcolor: (\w+)", page)) == {"inherit"}
