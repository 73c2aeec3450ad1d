"""The pipe for spaCy sets entities, one document at a time or many, by its entry point as well."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import spacy
from spacy.training import Example
from untrained import write_checkpoint

from ner_lightning.data.running_text import from_text
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.result import Entity, Tagged
from ner_lightning.inference.spacy_pipe import Pipe

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, llama):
    return write_checkpoint(tmp_path_factory.mktemp("spacy"), llama)


class Fixed:
    """A tagger that finds what it is told to."""

    def __init__(self, *finds):
        self.finds = finds

    def __call__(self, texts):
        if isinstance(texts, list):
            return [self(text) for text in texts]
        entities = [
            Entity(word, label, at, at + len(word), 0, 1, *(score or (0.5,)))
            for word, label, *score in self.finds
            if (at := texts.find(word)) >= 0
        ]
        return Tagged(from_text(texts), (), tuple(entities))


def found(doc):
    return [(span.text, span.label_, span._.ner_score) for span in doc.ents]


def test_entities_are_set():
    nlp, pipe = spacy.blank("en"), Pipe(Fixed(("Vera Holt", "PER"), ("Lima", "LOC"), ("Sino", "MISC")))
    doc = pipe(nlp("\U0001f600 Vera Holt left  Lima.\n"))
    assert found(doc) == [("Vera Holt", "PER", 0.5), ("Lima", "LOC", 0.5)]
    assert [doc.text[span.start_char : span.end_char] for span in doc.ents] == ["Vera Holt", "Lima"]
    # An entity that ends inside a token gets the whole token.
    assert found(pipe(nlp("The LimaHolt case"))) == [("LimaHolt", "LOC", 0.5)]
    assert not pipe(nlp("")).ents


def test_a_score_is_that_of_the_entity_that_is_kept():
    nlp, pipe = (
        spacy.blank("en"),
        Pipe(Fixed(("Vera", "LOC", 0.2), ("Holt", "PER", 0.7), ("Lima", "PER", 0.3))),
    )
    assert found(pipe(nlp("VeraHolt left"))) == [("VeraHolt", "PER", 0.7)]
    assert found(pipe(nlp("VeraLima left"))) == [("VeraLima", "PER", 0.3)]


def test_entities_that_come_to_share_a_token_are_thinned():
    nlp, pipe = spacy.blank("en"), Pipe(Fixed(("Lima", "LOC"), ("Holt Lima", "PER"), ("ma", "MISC")))
    assert found(pipe(nlp("Holt Lima"))) == [("Holt Lima", "PER", 0.5)]


def test_entities_that_a_document_has_already_stay():
    nlp, pipe = spacy.blank("en"), Pipe(Fixed(("Vera Holt", "PER"), ("Lima", "LOC")))
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "TEAM", "pattern": "Holt left", "id": "t1"}])
    text = "Vera Holt left Lima"
    once = found(pipe(nlp(text)))
    assert once == [("Holt left", "TEAM", None), ("Lima", "LOC", 0.5)]
    assert [found(doc) for doc in pipe.pipe(nlp.pipe([text]))] == [once]
    doc = pipe(pipe(nlp(text)))
    assert found(doc) == once
    assert doc.ents[0].ent_id_ == "t1"


def test_blocked_tokens_stay_blocked():
    nlp, pipe = spacy.blank("en"), Pipe(Fixed(("Vera Holt", "PER"), ("Lima", "LOC")))
    doc = nlp("Vera Holt left Lima")
    doc.set_ents([], blocked=[doc[1:2]], default="unmodified")
    assert found(pipe(doc)) == [("Lima", "LOC", 0.5)]
    assert [token.ent_iob_ for token in doc] == ["O", "B", "O", "B"]
    assert found(pipe(doc)) == [("Lima", "LOC", 0.5)]


def test_a_pipeline_is_evaluated_and_lists_its_labels(checkpoint):
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("ner_lightning", config={"model": str(checkpoint), "device": "cpu"})
    assert nlp.pipe_labels == {"ner_lightning": list(pipe.tagger.labels.types)}
    text = "Vera Holt left Lima ."
    found = [(span.start_char, span.end_char, span.label_) for span in nlp(text).ents]
    scores = nlp.evaluate([Example.from_dict(nlp.make_doc(text), {"entities": found})])
    assert found
    assert scores["ents_f"] == 1


@pytest.mark.parametrize("least", [0.02, {"*": 0.02, "PER": 0.9}])
def test_the_pipe_may_have_a_threshold(checkpoint, least):
    nlp = spacy.blank("en")
    nlp.add_pipe("ner_lightning", config={"model": str(checkpoint), "device": "cpu", "min_score": least})
    doc = nlp("Vera Holt left Lima .")
    tagged = NERTagger.from_run(str(checkpoint), device="cpu", min_score=least)(doc.text)
    assert [span.text for span in doc.ents] == [entity.text for entity in tagged.entities]
    assert doc.ents


def test_a_saved_pipeline_is_loaded_from_another_directory(tmp_path, checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner_lightning", name="tagger", config={"model": checkpoint.name, "device": "cpu"})
    nlp.to_disk(tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    loaded = spacy.load(tmp_path / "saved")
    assert loaded.get_pipe_config("tagger")["model"] == str(checkpoint)
    assert found(loaded("Vera Holt left Lima.")) == found(nlp("Vera Holt left Lima."))


def test_many_documents_keep_their_order():
    nlp, pipe = spacy.blank("en"), Pipe(Fixed(("Lima", "LOC")))
    docs = [nlp(text) for text in ("Lima", "none", "In Lima")]
    assert [len(doc.ents) for doc in pipe.pipe(iter(docs), batch_size=2)] == [1, 0, 1]


USE = """
import sys, json, spacy
nlp = spacy.blank("en")
nlp.add_pipe("ner_lightning", config={"model": sys.argv[1], "device": "cpu"})
texts = ["Vera Holt left Lima.", "The strike ended."]
one = [[(s.text, s.label_) for s in nlp(text).ents] for text in texts]
many = [[(s.text, s.label_) for s in doc.ents] for doc in nlp.pipe(texts)]
assert one == many
from ner_lightning.inference.ner_tagger import NERTagger
own = [[(e.text, e.label) for e in t.entities] for t in NERTagger.from_run(sys.argv[1], device="cpu")(texts)]
print(json.dumps([one, own]))
"""


@pytest.mark.slow
def test_spacy_finds_the_pipe_by_its_entry_point(tmp_path, checkpoint):
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "spacy_factories"
    ]
    about = tmp_path / "somewhere-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: somewhere\nVersion: 1\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (about / "entry_points.txt").write_text(f"[spacy_factories]\n{lines}")
    path = f"{tmp_path}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", USE, str(checkpoint)],
        capture_output=True, text=True, env={"PYTHONPATH": path, "PATH": "/usr/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    spacys, ours = json.loads(done.stdout)
    assert spacys == ours
    assert spacys[0]
