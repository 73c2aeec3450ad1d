"""Pre-annotations: what annotation tools import, read again, and checked by Label Studio's own library."""

import json
import math
from pathlib import Path

import label_studio
import pytest
import taggers

from ner_lightning.commands.main import main
from ner_lightning.commands.taggers import tagger_loading
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.schemes import spans

TEXTS = ["Vera Holt left Lima.", 'Okoro 🙂, of "Tollan Inc.", won 6-4!', "Nobody in Oslo answered."]


@pytest.fixture
def tagger(llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = taggers.random_tagger(llama)
    monkeypatch.setattr(tagger_loading, "read_tagger", lambda *args, **kwargs: made)
    Path("in.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return made


@pytest.mark.parametrize(
    ("format", "name"), [("doccano", "a.jsonl"), ("prodigy", "a.jsonl"), ("labelstudio", "a.json")]
)
def test_preannotations_are_read_again(tagger, caplog, format, name):
    assert main(["predict", "--input", "in.txt", "--output", name, "--to", format]) == 0
    found = [[(" ".join(s.words[a:b]), kind) for kind, a, b in spans(s.tags)] for s in read_sentences(name)]
    expected = [[(e.text, e.label) for e in each.entities] for each in tagger(TEXTS)]
    flat = [("".join(text.split()), kind) for sentence in found for text, kind in sentence]
    assert flat == [("".join(text.split()), kind) for each in expected for text, kind in each]
    assert ("the predictions of a model are read" in caplog.text) == (format == "labelstudio")
    rows = json.loads(Path(name).read_text(encoding="utf-8")) if name == "a.json" else []
    assert not label_studio.errors_of(rows, tagger.labels.types)
    for row, tagged in zip(rows, tagger(TEXTS), strict=False):
        (prediction,) = row["predictions"]
        assert [r["score"] for r in prediction["result"]] == [round(e.score, 6) for e in tagged.entities]
        assert all(
            r["value"]["text"] == tagged.text[r["value"]["start"] : r["value"]["end"]]
            for r in prediction["result"]
        )


def test_label_studio_finds_what_is_wrong(tagger):
    assert main(["predict", "--input", "in.txt", "--output", "a.json", "--to", "labelstudio"]) == 0
    rows = json.loads(Path("a.json").read_text(encoding="utf-8"))
    with_entities = next(row for row in rows if row["predictions"][0]["result"])
    assert label_studio.errors_of([with_entities], ["OTHER"]), "its labels are not those of the project"
    del with_entities["predictions"][0]["result"][0]["value"]["end"]
    assert label_studio.errors_of([with_entities], tagger.labels.types)


def test_a_list_needs_a_file(tagger, capsys):
    assert main(["predict", "--input", "in.txt", "--to", "labelstudio"]) == 2
    assert "labelstudio needs a file" in capsys.readouterr().err


def test_the_most_uncertain_texts_come_first_and_near_duplicates_once(tagger):
    texts = [*taggers.texts(), *[f"{text} {text}" for text in taggers.texts()]]
    Path("in.txt").write_text("\n".join([*texts, *texts]) + "\n", encoding="utf-8")  # each twice
    margins = {}
    for text, tagged in zip(texts, tagger(texts, n_best=2), strict=True):
        paths = tagged.paths
        margins[text] = paths[0][1] - paths[1][1] if len(paths) > 1 else float("inf")
    assert main(["predict", "--input", "in.txt", "--output", "out.jsonl", "--most_uncertain", "5"]) == 0
    chosen = [json.loads(line)["text"] for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(chosen) == 5
    values = [margins[text] for text in chosen]
    assert values == sorted(values)
    assert len({text.lower() for text in chosen}) == 5, "no text twice"
    assert values[0] == min(margins.values())
    words = ["--input", "in.txt", "--output", "out.json", "--to", "labelstudio", "--most_uncertain", "5"]
    assert main(["predict", *words]) == 0
    scores = [row["predictions"][0]["score"] for row in json.loads(Path("out.json").read_text())]
    assert scores == sorted(scores), "an annotator that sorts by them begins with the same text"
    assert scores[0] == pytest.approx(1 / (1 + math.exp(-values[0])), abs=1e-5)


@pytest.mark.parametrize("count", [2, 4, 10])
def test_repeated_lines_do_not_push_out_others(tagger, count):
    others = list(taggers.texts())[:4]
    Path("in.txt").write_text(
        "\n".join(["Nobody left."] * 40 + others + ["Nobody left."] * 40) + "\n", encoding="utf-8"
    )
    words = ["predict", "--input", "in.txt", "--output", "out.jsonl", "--most_uncertain", str(count)]
    assert main(words) == 0
    chosen = [json.loads(line)["text"] for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(chosen) == len(set(chosen)) == min(count, 5)


def test_texts_that_cannot_be_tagged_are_noted_beside_the_uncertain_ones(tagger):
    Path("in.txt").write_bytes("\n".join(TEXTS).encode() + b"\nJos\xe9\n")
    assert main(["predict", "--input", "in.txt", "--output", "out.jsonl", "--most_uncertain", "2"]) == 0
    noted = Path("out.jsonl.rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["line"] for line in noted] == [4]
