"""`predict RUN RUN`: each text by each tagger."""

import json
import shutil
from pathlib import Path

import pytest
from untrained import write_different

from ner_lightning.commands.main import main
from ner_lightning.inference.ner_tagger import NERTagger

TEXTS = ["Vera Holt left Lima.", "Nobody in Oslo answered."]


@pytest.fixture
def runs(llama, tmp_path, monkeypatch):
    """Checkpoints of two taggers."""
    monkeypatch.chdir(tmp_path)
    write_different(tmp_path, llama, ("people", "places"))
    return "people/a.ckpt", "places/a.ckpt"


def texts_of(words):
    return [word for text in TEXTS for word in ("--text", text)] + words


def test_each_text_is_tagged_by_each(runs, capsys):
    assert main(["predict", *runs, *texts_of(["--output", "-", "--min_score", "0.3"])]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["tagger"], row["text"]) for row in rows] == [(run, text) for text in TEXTS for run in runs]
    for run in runs:
        alone = NERTagger.from_run(run, min_score=0.3)(TEXTS)
        mine = [row["entities"] for row in rows if row["tagger"] == run]
        spans = [[(e["start"], e["end"], e["label"]) for e in each] for each in mine]
        assert spans == [[(e.start, e.end, e.label) for e in tagged.entities] for tagged in alone]
        assert any(spans)


def test_the_path_of_a_run_may_have_an_equals_sign(runs, capsys):
    Path("lr=1e-4").mkdir()
    shutil.copy(runs[0], "lr=1e-4/a.ckpt")
    assert main(["predict", "lr=1e-4/a.ckpt", f"b={runs[1]}", "--text", TEXTS[0]]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()][1] == "b"


def test_names_are_given_before_runs(runs, capsys):
    assert main(["predict", f"who={runs[0]}", f"where={runs[1]}", "--text", TEXTS[0]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["who", "where"]
    assert main(["predict", "--run", runs[0], "--run", f"b={runs[1]}", "--text", TEXTS[0]]) == 0


def test_entities_that_share_words_follow_the_text_they_are_in(runs, capsys):
    words = ["--min_score", "0.05", "--overlaps", "keep"]
    assert main(["predict", *runs, "--text", TEXTS[0], *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = []
    for run in runs:
        tagged = NERTagger.from_run(run, min_score=0.05)(TEXTS[0], overlaps="keep")
        assert tagged.overlapping
        expected += [run, *(f"    [{e.label} {e.text}] " for e in tagged.overlapping)]
    assert len(lines) == len(expected)
    assert all(map(str.startswith, lines, expected))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--input", "a.txt"], "--input is for one RUN"),
        (["--text", "a", "--calibrate", "x"], "--calibrate is for one RUN; name one, or tag --text"),
        (["--text", "a", "--from", "conll"], "--from is for one RUN"),
        ([], "several RUNs tag --text; name one RUN to tag --input"),
        (["--text", "a", "--output", "x.csv"], "several RUNs print text, or with --output - JSONL"),
        (["--text", "a", "--overlaps", "keep"], "--overlaps has no effect here"),
    ],
)
def test_what_is_for_one_tagger_is_refused(runs, capsys, words, said):
    assert main(["predict", *runs, *words]) == 2
    assert said in capsys.readouterr().err


def test_two_of_a_name_are_refused(runs, capsys):
    assert main(["predict", runs[0], runs[0], "--text", "a"]) == 2
    assert "two taggers are named people/a.ckpt; name one otherwise, as in NAME=people/a.ckpt" in (
        capsys.readouterr().err
    )
