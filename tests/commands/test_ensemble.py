"""Several taggers as one: its scores are the mean of theirs, in every command that takes a run."""

import json
import os
import shutil
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from shared import json_rows
from taggers import LABELS, random_tagger, settings_of

from ner_lightning.commands.lightning_cli import start
from ner_lightning.commands.main import main
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.scoring import score
from ner_lightning.model.build import build_tagger
from ner_lightning.model.checkpoint import mean_state
from ner_lightning.system.plain_settings import to_plain

WORDS = [words for words, _ in tiny.sentences(tiny.TRAIN + tiny.TEST)]


def ensemble(llama, seeds, **architecture):
    """Random taggers, and the ensemble of them."""
    members = [random_tagger(llama, seed=seed, **architecture) for seed in seeds]
    settings = settings_of(llama, **architecture)
    built, weights = build_tagger(settings, LABELS, members=[settings] * (len(seeds) - 1))
    states = [member.tagger.state_dict() for member in members]
    state = mean_state(states, [to_plain(settings)] * len(seeds))
    built.load_state_dict(state, strict=False)
    assert weights == " + ".join([weights.partition(" + ")[0]] * len(seeds))
    return members, NERTagger(built, members[0].encoder)


def path_scores(tagger, scored, row, paths):
    """A CRF's scores of some tag sequences of a sentence."""
    length = int(scored.mask[row].sum())
    tags = torch.tensor(paths)
    emissions = scored.emissions[row, :length].expand(len(paths), -1, -1)
    mask = torch.ones(tags.shape, dtype=torch.bool)
    log_probs = tagger.decoder.crf.log_likelihood(emissions, tags, mask)
    return log_probs - log_probs[0]  # the partition is gone


def test_a_sequence_scores_the_mean_of_what_its_members_give_it(llama):
    members, together = ensemble(llama, (1, 2, 3))
    found = [list(score(tagger.tagger, tagger.encoder, WORDS[:1])) for tagger in (*members, together)]
    length = int(found[0][0].mask.sum())
    paths = torch.randint(0, 2, (20, length)).tolist()  # O and B of one type: all of it is legal
    *each, mean = (
        path_scores(tagger.tagger, scored, 0, paths)
        for tagger, (scored,) in zip((*members, together), found, strict=True)
    )
    torch.testing.assert_close(mean, torch.stack(each).mean(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("use_crf", [True, False])
def test_one_tagger_twice_is_that_tagger(llama, use_crf):
    (one, _), together = ensemble(llama, (4, 4), use_crf=use_crf)
    for a, b in zip(one(words=WORDS), together(words=WORDS), strict=True):
        assert a.tags == b.tags
        assert [e.score for e in a.entities] == pytest.approx([e.score for e in b.entities], abs=1e-5)


@pytest.fixture(scope="module")
def ensemble_folder(tmp_path_factory, llama, corpus):
    """Two seeds of a recipe, and their ensemble, validated and tested."""
    folder = tmp_path_factory.mktemp("ensemble")
    recipe = {
        "trainer": {"accelerator": "cpu", "max_epochs": 12},
        "model": {
            "backbone": str(llama),
            "lora": {"rank": 4},
            "optimizer": {"lr": 0.01, "head_lr": 0.03, "crf_lr": 0.1},
        },
        "data": {"dataset": str(corpus), "batches": {"size": 4}},
    }
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
        for seed in ("3", "4"):
            assert main(["fit", "--config", "recipe.yaml", "--name", "a", "--seed_everything", seed]) == 0
        assert main(["ensemble", "runs/a/1", "runs/a/2", "--name", "both"]) == 0
        assert main(["validate", "--run", "runs/both/1"]) == 0
        assert main(["test"]) == 0  # the last run
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(ensemble_folder, monkeypatch):
    monkeypatch.chdir(ensemble_folder)
    return ensemble_folder


def rows(split):
    return json_rows(f"runs/both/1/predictions.{split}.jsonl")


def test_it_is_a_run(here, capsys):
    run = here / "runs/both/1"
    assert sorted(file.name for file in run.iterdir()) == [
        "checkpoints", "config.yaml", "metrics.json", "predictions.test.conll",
        "predictions.test.jsonl", "predictions.valid.conll", "predictions.valid.jsonl", "run.json",
        "train_entities.json",
        "train_sentences.json",
    ]  # fmt: skip
    about = json.loads((run / "run.json").read_text())
    assert [(member["run"], member["seed"]) for member in about["members"]] == [
        ("runs/a/1", 3),
        ("runs/a/2", 4),
    ]
    assert about["command"] == ["ner-lightning", "ensemble", "runs/a/1", "runs/a/2", "--name", "both"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"val/f1", "test/f1"} < metrics.keys()
    assert main(["report", "runs/both/1"]) == 0
    assert "an ensemble of 2;" in (run / "report.md").read_text()


def test_prediction_is_that_of_the_test(here):
    tagger = NERTagger.from_run("runs/both/1", device="cpu")
    held = rows("test")
    found = tagger(words=[row["words"] for row in held])
    assert [list(tagged.tags) for tagged in found] == [row["predicted"] for row in held]


def test_its_scores_are_between_those_of_its_members(here):
    taggers = [NERTagger.from_run(f"runs/{name}", device="cpu") for name in ("a/1", "a/2", "both/1")]
    scored = (score(tagger.tagger, tagger.encoder, WORDS[:1]) for tagger in taggers)
    one, two, both = (next(iter(each)).emissions for each in scored)
    torch.testing.assert_close(both, (one + two) / 2, rtol=1e-4, atol=1e-4)


def test_a_run_and_its_copy_are_said_to_be_the_same(here, capsys):
    shutil.copy("runs/a/1/checkpoints/best.ckpt", "copy.ckpt")
    assert main(["ensemble", "runs/a/1", "runs/a/2", "copy.ckpt", "--name", "twice"]) == 0
    said = capsys.readouterr().err
    assert said == "runs/a/1 and copy.ckpt have the same weights, which count twice; leave one out.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs/a/1"], "two runs or more"),
        (["runs/a/1", "nowhere"], "no run folder or checkpoint nowhere"),
        (["runs/a/1", "runs/both/1"], "runs/both/1 is an ensemble; name its members"),
        (["runs/both/1", "runs/a/1"], "runs/both/1 is an ensemble; name its members"),
        (["runs/a/1", "runs/a/1"], "runs/a/1 is named twice"),
        (["--soup", "runs/a/1", "runs/a/1"], "runs/a/1 is named twice"),
        (
            ["runs/a/2", "runs/a/1", "runs/a/../a/1/checkpoints/best.ckpt"],
            "runs/a/../a/1/checkpoints/best.ckpt and runs/a/1 are the same run",
        ),
        (["runs/a/1", "other types"], "differ in data.types"),
        (["runs/a/1", "other context"], "differ in data.encoding.context (None, 64)"),
        (["runs/a/1", "softmax"], "differ in model.use_crf (True, False)"),
        (["runs/a/1", "other tokenizer"], "different tokenizers"),
    ],
)
def test_what_does_not_go_together(here, capsys, words, said):
    changes = {
        "other types": ("data", {"types": ["PER"]}),
        "other context": (
            "data",
            {"encoding": {"max_length": 512, "overlap": 64, "context": 64, "repeats": 0}},
        ),
        "softmax": ("model", {"use_crf": False}),
        "other tokenizer": ("model", {"backbone": str(here / "bert")}),
    }
    if words[-1] in changes:
        tiny.write_bert(here / "bert")
        held = torch.load("runs/a/2/checkpoints/best.ckpt", weights_only=True)
        part, change = changes[words[-1]]
        held["config"][part] |= change
        torch.save(held, words[-1])
    before = sorted(Path("runs").rglob("*"))
    assert main(["ensemble", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) <= 3
    assert sorted(Path("runs").rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "--run", "runs/both/1", "--ckpt_path", "best"], "an ensemble is not trained"),
        (["export", "runs/both/1", "--output", "out"], "is an ensemble, and an exported folder"),
    ],
)
def test_what_an_ensemble_cannot_do(here, capsys, words, said):
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_what_is_validated_and_was_trained_on_is_said(here, capsys, tmp_path, corpus):
    (train,) = corpus.glob("train.*")
    words = ["--config", "recipe.yaml", "--data.valid", str(train), "--runs", str(tmp_path), "--name", "own"]
    assert main(["fit", *words, "--trainer.max_epochs", "1"]) == 0
    assert "The validation data are those of the training" in capsys.readouterr().out
    assert main(["validate", "--run", str(tmp_path / "own/1")]) == 0
    assert "is what this run was trained on" in capsys.readouterr().out


def test_members_of_other_precisions_do_not_go_together(here, capsys, tmp_path):
    words = [
        "--config",
        "recipe.yaml",
        "--runs",
        str(tmp_path),
        "--name",
        "half",
        "--trainer.max_epochs",
        "1",
    ]
    assert main(["fit", *words, "--trainer.precision", "bf16-mixed"]) == 0
    assert main(["ensemble", "runs/a/1", str(tmp_path / "half/1"), "--runs", str(tmp_path)]) == 2
    assert "differ in trainer.precision (None, bf16-mixed)" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["validate", "test", "fit"])
def test_a_run_and_a_checkpoint_of_another_one_are_named_once(here, capsys, command):
    assert main([command, "runs/a/1", "--ckpt_path", "runs/a/2/checkpoints/best.ckpt"]) == 2
    said = "the run is named twice, as runs/a/1 and by --ckpt_path runs/a/2/checkpoints/best.ckpt"
    assert said in capsys.readouterr().err


def test_members_find_the_backbone_where_it_is_now():
    members = [{"backbone": "old"}, {"backbone": "other"}]
    found = start._with_backbone({"model": {"backbone": "old", "members": members}}, {"name": "old"}, "new")
    assert found["model"] == {"backbone": "new", "members": [{"backbone": "new"}, {"backbone": "other"}]}
