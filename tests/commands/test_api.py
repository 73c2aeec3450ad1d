"""`train` and `evaluate`: what the commands do, in the caller's process."""

import json
import os
import pickle
import random
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ner_lightning import NERTagger, distill, evaluate, train
from ner_lightning.commands import api
from ner_lightning.errors import UserError
from ner_lightning.runs.folder import Run

SETTINGS = {
    "seed_everything": 3,
    "trainer": {"accelerator": "cpu", "max_epochs": 14},
    "model": {"lora": {"rank": 4}, "optimizer": {"lr": 0.01, "head_lr": 0.03, "crf_lr": 0.1}},
    "data": {"batches": {"size": 4}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    return tmp_path


@pytest.fixture
def overrides(llama, corpus):
    return {"model.backbone": llama, "data.dataset": corpus}


def test_train_and_evaluate(folder, overrides, capsys):
    run = train("recipe.yaml", overrides)
    assert run.path == folder / "runs/recipe/1"
    assert run.metrics == json.loads((run.path / "metrics.json").read_text())
    assert repr(run).startswith("RunResult(runs/recipe/1: val/precision 1.0000")
    assert "<td>PER</td>" in run._repr_html_()
    assert "epoch" in capsys.readouterr().out  # what `fit` prints
    assert run.tagger is run.tagger
    assert len(run.tagger("Vera Lindqvist joined Halden Bank in Trondheim .").entities) == 3
    scores = evaluate(run)
    assert set(scores) == {name for name in scores if name.startswith("test/")} > {"test/f1", "test/by_type"}
    assert (run.path / "predictions.test.jsonl").is_file()
    assert evaluate(run.path, "valid")["val/f1"] == run.metrics["val/f1"]
    tagger = NERTagger.from_pretrained(run.export("tagger", format="adapter"))
    assert len(tagger("Vera Lindqvist joined Halden Bank in Trondheim .").entities) == 3
    page = run.report()
    assert page == run.path / "report.html"
    assert "recipe/1" in page.read_text(encoding="utf-8")
    page.unlink()
    assert run.report(text=False).is_file()
    other = evaluate(overrides={"data.test": overrides["data.dataset"] / "valid.txt"})  # of the last run
    assert {name: row["gold"] for name, row in other["test/by_type"].items()} == {
        name: row["gold"] for name, row in run.metrics["val/by_type"].items()
    }
    with pytest.raises(UserError, match="not what this run was validated on"):
        evaluate(split="valid", overrides={"data.limits.valid": 1})


def test_overlays_and_values_of_all_kinds(folder, overrides):
    overrides |= {
        "trainer.max_epochs": 1,
        "model.lora": {"rank": 2},
        "data.types": ["PER", "LOC", "ORG", "MISC"],
    }
    run = train(
        ["recipe.yaml", "configs/with/softmax.yaml"],
        overrides | {"model.optimizer.crf_lr": None, "model.runtime.compile": False, "name": "other"},
    )
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    assert run.path == folder / "runs/other/1"
    assert config["model"]["lora"]["rank"] == 2
    assert config["model"]["use_crf"] is False
    assert config["model"]["optimizer"]["crf_lr"] is None
    assert config["data"]["types"] == ["PER", "LOC", "ORG", "MISC"]


def test_the_caller_is_left_as_it_was(folder, overrides):
    numbers = signal.valid_signals()

    def state():
        return {
            "environment": dict(os.environ),
            "filters": list(warnings.filters),
            "handlers": [signal.getsignal(number) for number in numbers],
            "random": random.getstate(),
            "numpy": pickle.dumps(np.random.get_state(legacy=False)["state"]),
            "torch": torch.get_rng_state().tolist(),
        }

    before = state()
    train("recipe.yaml", overrides | {"trainer.max_epochs": 1})
    assert state() == before
    with pytest.raises(UserError):
        train("recipe.yaml", overrides | {"model.optimizer.lr": -1})
    assert state() == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train("no.yaml"), "no.yaml"),
        (
            lambda: train("recipe.yaml", {"model.lrr": 1}),
            "there is no option model.lrr; did you mean model.optimizer.lr?",
        ),
        (lambda: train("recipe.yaml", {"trainer.callbacks": [print]}), "must be a plain value, or a list or"),
        (lambda: train("recipe.yaml", {"print_config": ""}), "an override asks for help"),
        (lambda: evaluate("runs/9"), "there is no run folder or checkpoint runs/9"),
        (lambda: evaluate(split="val"), "split is 'val'; it must be one of valid, test"),
    ],
)
def test_mistakes_are_user_errors(folder, capsys, call, message):
    with pytest.raises(UserError) as caught:
        call()
    assert message in str(caught.value)
    assert not capsys.readouterr().err


def test_one_file_of_text_may_be_given_alone(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(api, "_run", lambda *words: called.append(words) or Run(tmp_path))
    for text in ("news.txt", Path("news.txt"), ["news.txt"]):
        distill("teacher", "r.yaml", text=text)
    assert {tuple(words[1]) for words in called} == {
        ("teacher", "--config=r.yaml", "--text=news.txt", "--temperature=1.0")
    }


@pytest.mark.parametrize("nothing", [[], None, ()])
def test_a_training_needs_a_recipe(nothing):
    with pytest.raises(UserError, match="name a recipe"):
        train(nothing)


def test_a_table_of_many_types_says_that_it_is_cut():
    row = dict.fromkeys(("precision", "recall", "f1"), 0.5) | {"gold": 1}
    scores = {f"val/{name}": 0.5 for name in ("precision", "recall", "f1")}
    for count, said in ((30, False), (31, True)):
        by_type = {f"T{index}": row for index in range(count)}
        page = api.RunResult(Path("runs/r/1"), scores | {"val/by_type": by_type})._repr_html_()
        assert ("metrics.json has 1 more" in page) == said
