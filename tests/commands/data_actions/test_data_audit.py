"""`ner-lightning data audit`: folds, resuming, and what it writes; margins against enumeration."""

import itertools
import json
import math
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import label_studio
import pytest
import taggers
import tiny
import torch
import yaml
from shared import json_rows

from ner_lightning.commands.data_actions import data_audit
from ner_lightning.commands.data_actions.data_audit_outputs import check_same_audit
from ner_lightning.commands.main import main
from ner_lightning.data.readers.jsonl import write_jsonl
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.data.sentence import Sentence
from ner_lightning.data.sentence_weights import LEAST
from ner_lightning.errors import UserError
from ner_lightning.inference.audit import audit
from ner_lightning.inference.scoring import score


@pytest.fixture
def recipe(llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.write_corpus(Path("data"))
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1},
        "model": {"backbone": str(llama), "lora": {"rank": 2}},
        "data": {"dataset": "data", "batches": {"size": 4}, "files": {"tags_column": "1"}},
    }
    Path("small.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return "small.yaml"


@pytest.fixture
def in_one_process(monkeypatch):
    """Folds are trained in this process: each of their own would import everything again."""

    @contextmanager
    def run(command):
        assert command[:3] == [sys.executable, "-m", "ner_lightning"]
        yield SimpleNamespace(returncode=main(command[3:]))

    monkeypatch.setattr("ner_lightning.commands.data_actions.data_audit.started", run)


@pytest.fixture(params=["in one process", pytest.param("in several", marks=pytest.mark.slow)])
def processes(request):
    """Where the folds are trained."""
    if request.param == "in one process":
        request.getfixturevalue("in_one_process")


@pytest.mark.slow
@pytest.mark.usefixtures("processes")
def test_an_audit_ranks_all_sentences_and_resumes(recipe, capfd):
    words = ["data", "audit", "--config", recipe, "--folds", "2", "--output", "out"]
    assert main(words) == 0
    out, _ = capfd.readouterr()
    assert "Audit of the annotation" in out
    sentences = read_sentences("data/train.txt")
    rows = json_rows("out/audit.jsonl")
    assert sorted(row["index"] for row in rows) == list(range(len(sentences)))
    assert [row["rank"] for row in rows] == list(range(1, len(sentences) + 1))
    assert [row["margin"] for row in rows] == sorted((row["margin"] for row in rows), reverse=True)
    assert all(row["gold"] == list(sentences[row["index"]].tags) for row in rows)
    assert rows[0]["location"].startswith("data/train.txt:")
    texts = json_rows("out/doccano.jsonl")
    tasks = json.loads(Path("out/labelstudio.json").read_text(encoding="utf-8"))
    assert len(texts) == len(tasks) == len(sentences)
    for name in ("doccano.jsonl", "labelstudio.json"):  # a text may be read as several sentences
        read = Counter(word for sentence in read_sentences(f"out/{name}") for word in sentence.words)
        assert read == Counter(word for sentence in sentences for word in sentence.words)
    tasks = json.loads(Path("out/labelstudio.json").read_text(encoding="utf-8"))
    assert not label_studio.errors_of(tasks, ["PER", "ORG", "LOC", "MISC"])
    rows = json_rows("out/weights.jsonl")
    assert [row["words"] for row in rows] == [list(sentence.words) for sentence in sentences]
    assert min(row["weight"] for row in rows) >= round(LEAST, 4)
    scores = Path("out/fold1/scores.jsonl").read_bytes()
    Path("out/fold2/scores.jsonl").unlink()  # as if it had been stopped after the training
    assert main(words) == 0
    assert "batches" not in capfd.readouterr().err, "nothing is trained again"
    assert Path("out/fold1/scores.jsonl").read_bytes() == scores
    assert main([*words[:-3], "3", "--output", "out"]) == 2
    assert "out holds another audit" in capfd.readouterr().err


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.usefixtures("in_one_process")
def test_a_fold_that_was_killed_before_its_first_checkpoint_is_trained_again(recipe, capfd):
    words = ["data", "audit", "--config", recipe, "--folds", "2", "--output", "out"]
    assert main(words) == 0
    fold = Path("out/fold1")
    (fold / "scores.jsonl").unlink()
    (fold / "runs/run/1/checkpoints/last.ckpt").unlink()
    about = json.loads((fold / "runs/run/1/run.json").read_text())
    del about["finished"]
    (fold / "runs/run/1/run.json").write_text(json.dumps(about))
    assert main(words) == 0
    assert sorted(item.name for item in (fold / "runs/run").iterdir() if item.name.isdecimal()) == ["1", "2"]
    assert (fold / "scores.jsonl").is_file()


@pytest.mark.parametrize(
    ("limit", "said"), [("6", "Of the first 6 sentences of"), ("null", "Each sentence of")]
)
def test_an_audit_of_a_part_says_so(recipe, monkeypatch, capsys, limit, said):
    def fold(folder, sentences, indices, *_):
        return {index: {"predicted": list(sentences[index].tags), "margin": 0.0} for index in indices}

    monkeypatch.setattr(data_audit, "_fold", fold)
    words = ["data", "audit", "--config", recipe, "--folds", "2", "--output", "out"]
    assert main([*words, "--data.limits.train", limit]) == 0
    out, err = (" ".join(text.split()) for text in capsys.readouterr())
    page = " ".join(Path("out/audit.html").read_text(encoding="utf-8").split())
    assert f"{said} data/train.txt" in out
    assert f"{said} data/train.txt" in page
    part = "the first 6 sentences of data/train.txt (data.limits.train) in order of doubt"
    assert (part in err) == (limit == "6")
    weights = Path("out/weights.jsonl").read_text(encoding="utf-8").splitlines()
    assert (len(weights) == 6) == (limit == "6")


def test_unknown_tags_are_refused_before_anything_is_trained(recipe, capsys):
    with Path("data/train.txt").open("a", encoding="utf-8") as file:
        file.write("\nTarvo ?\nfell O\n")
    assert main(["data", "audit", "--config", recipe, "--folds", "2", "--output", "out"]) == 2
    assert "is unknown (?)" in capsys.readouterr().err
    assert not list(Path().glob("out/fold*"))


@pytest.mark.parametrize("use_crf", [True, False])
def test_margins_are_those_of_enumeration(llama, use_crf):
    tagger = taggers.random_tagger(llama, use_crf=use_crf)
    tagger.temperature = 3.0  # counts nothing
    types = tagger.labels.types
    sentences = [
        Sentence(("Vera", "left", "Lima"), (f"B-{types[0]}", "O", f"B-{types[-1]}"), 0),
        Sentence(("Nobody", "answered"), ("O", "O"), 1),
    ]
    found = {each.number: each for each in audit(tagger, sentences)}
    for indices, emissions, mask in score(tagger.tagger, tagger.encoder, [each.words for each in sentences]):
        for row, index in enumerate(indices):
            length = int(mask[row].sum())
            totals = {
                path: _score(tagger, emissions[row, :length], path)
                for path in itertools.product(range(len(tagger.labels)), repeat=length)
            }
            norm = torch.tensor(list(totals.values())).double().logsumexp(0).item() if use_crf else 0.0
            gold = totals[tuple(tagger.labels.encode(sentences[index].tags))] - norm
            best = max(totals.values()) - norm
            assert math.isclose(found[index].gold_log_prob, gold, abs_tol=1e-3)
            assert math.isclose(found[index].margin, best - gold, abs_tol=1e-3)


def _score(tagger, emissions, path):
    """The score of a path, -inf if it is not legal."""
    labels, crf = tagger.labels, tagger.tagger.decoder.crf
    moves, starts = labels.legal_transitions(), labels.legal_starts()
    if not starts[path[0]] or not all(moves[a][b] for a, b in itertools.pairwise(path)):
        return -math.inf
    if crf is None:
        emissions = emissions.log_softmax(-1)
    total = float(sum(emissions[at, tag] for at, tag in enumerate(path)))
    if crf is None:
        return total
    start, moves, end = (
        scores.detach() for scores in (crf.start_transitions, crf.transitions, crf.end_transitions)
    )
    total += float(start[path[0]] + end[path[-1]])
    return total + float(sum(moves[a, b] for a, b in itertools.pairwise(path)))


def test_sentences_without_tags_are_refused(llama):
    with pytest.raises(UserError, match="gold tags"):
        list(audit(taggers.random_tagger(llama), [Sentence(("Vera",), None, 0)]))
    with pytest.raises(UserError, match="none of them unknown"):
        list(audit(taggers.random_tagger(llama), [Sentence(("Vera", "left"), ("B-PER", "?"), 0)]))


def test_scores_of_types_with_line_separators_are_read_again(tmp_path):
    row = {"index": 3, "margin": 0.5, "predicted": ["B-x\u2028y"]}
    write_jsonl(tmp_path / data_audit.SCORES, [row])
    assert data_audit._fold(tmp_path, [], [3], [], []) == {3: row}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"index": 3, "margin": 0.5, "predicted": []}\n\0\0\0\n', "scores.jsonl:2: the line is damaged"),
        ('{"index": 3, "mar', "scores.jsonl:1: the line is damaged"),
        ("[3]\n", "scores.jsonl:1: the line is damaged"),
        ("", "scores.jsonl does not have the sentences of its fold"),
    ],
)
def test_damaged_scores_of_a_fold_are_named(tmp_path, text, where):
    (tmp_path / data_audit.SCORES).write_text(text)
    with pytest.raises(UserError, match=f"{where}.*; remove the file, and the same command scores"):
        data_audit._fold(tmp_path, [], [3], [], [])


def test_a_damaged_audit_is_named(tmp_path):
    (tmp_path / "audit.json").write_text('{"folds": 5, "se')
    with pytest.raises(UserError, match=r"audit.json: not JSON .*;\nname another --output, or remove"):
        check_same_audit(tmp_path, {"folds": 5}, [])


@pytest.mark.parametrize("name", ["doccano.jsonl", "labelstudio.json", "weights.jsonl", "fold1"])
def test_an_audit_replaces_nothing_of_others(recipe, capsys, name):
    Path("data", name).write_text("mine")
    assert main(["data", "audit", "--config", recipe, "--folds", "2", "--output", "data"]) == 2
    assert f"--output data: {name} exists; name another folder" in capsys.readouterr().err
    assert Path("data", name).read_text() == "mine"
    assert not Path("data/audit.json").exists()
