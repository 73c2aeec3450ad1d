"""`ensemble --soup`: a single tagger with the mean of the weights of several runs, in every command."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import lightning
import pytest
import record
import results
import tiny
import torch
import yaml
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.commands.taggers.members import SHARED, _entities
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.scoring import score
from ner_lightning.model.adapters import Lora

WORDS = [words for words, _ in tiny.sentences(tiny.TRAIN + tiny.TEST)]
RANKS = {"3": "4", "4": "2"}  # by seed


@pytest.fixture(scope="module")
def soup_folder(tmp_path_factory, llama, corpus):
    """Two seeds of a recipe, with adapters of different ranks, and their soup, validated and tested."""
    folder = tmp_path_factory.mktemp("soup")
    recipe = tiny.recipe(llama, corpus, size=4)
    recipe["trainer"]["max_epochs"] = 8
    recipe["model"]["optimizer"]["averaging"] = 0.2
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("r.yaml").write_text(yaml.safe_dump(recipe))
        for seed, rank in RANKS.items():
            words = ["--seed_everything", seed, "--model.lora.rank", rank]
            assert main(["fit", "--config", "r.yaml", "--name", "a", *words]) == 0
        assert main(["ensemble", "--soup", "runs/a/1", "runs/a/2"]) == 0
        assert main(["validate", "--run", "runs/soup/1"]) == 0
        assert main(["test"]) == 0  # the last run
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(soup_folder, monkeypatch):
    monkeypatch.chdir(soup_folder)
    return soup_folder


def emissions(address):
    tagger = NERTagger.from_run(address, device="cpu")
    return torch.cat([part.emissions.flatten(0, 1) for part in score(tagger.tagger, tagger.encoder, WORDS)])


def test_it_is_an_ordinary_run(here, capsys):
    run = here / "runs/soup/1"
    assert sorted(file.name for file in run.iterdir()) == [
        "checkpoints", "config.yaml", "metrics.json", "predictions.test.conll",
        "predictions.test.jsonl", "predictions.valid.conll", "predictions.valid.jsonl", "run.json",
        "train_entities.json",
        "train_sentences.json",
    ]  # fmt: skip
    assert [file.name for file in (run / "checkpoints").iterdir()] == ["best.ckpt"]
    held = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    first = torch.load("runs/a/1/checkpoints/best.ckpt", weights_only=True)
    assert held["state_dict"].keys() == first["state_dict"].keys()
    assert not {"optimizer_states", "averaged"} & held.keys()
    for config in (held["config"]["model"], held["hyper_parameters"]):
        assert config["lora"]["rank"] == config["lora"]["alpha"] == 6
        assert not config["members"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"val/f1", "test/f1"} < metrics.keys()


def test_it_says_what_it_was_made_of(here):
    about = json.loads(Path("runs/soup/1/run.json").read_text())
    trained = json.loads(Path("runs/a/1/run.json").read_text())
    assert about["command"] == ["ner-lightning", "ensemble", "--soup", "runs/a/1", "runs/a/2"]
    assert [(member["run"], member["seed"]) for member in about["members"]] == [
        ("runs/a/1", 3),
        ("runs/a/2", 4),
    ]
    digest = hashlib.sha256(Path("runs/a/2/checkpoints/best.ckpt").read_bytes()).hexdigest()
    assert about["members"][1]["checkpoint"] == f"sha256:{digest}"
    assert about["members"][1]["train"] == trained["data"]["train"]["fingerprint"]
    assert about["backbone"] == trained["backbone"]
    assert about["soup"] == {"members": 2, "rank": 6, "lost": None}
    built = NERTagger.from_run("runs/soup/1", device="cpu").tagger
    assert about["trained_parameters"] - trained["trained_parameters"] == (
        about["parameters"] - trained["parameters"]
    )
    assert about["parameters"] > sum(p.numel() for p in built.parameters())  # whose adapters are merged
    assert main(["report", "runs/soup/1"]) == 0
    report = Path("runs/soup/1/report.md").read_text()
    for said in ("a soup of 2: the mean of their weights", "rank 6, the exact mean", "soup of seeds 3, 4"):
        assert said in report


def test_prediction_is_that_of_the_test(here):
    text = Path("runs/soup/1/predictions.test.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    found = NERTagger.from_run("runs/soup/1", device="cpu")(words=[row["words"] for row in rows])
    assert [list(tagged.tags) for tagged in found] == [row["predicted"] for row in rows]


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_it_is_exported_as_one_model(here, form):
    assert main(["export", "runs/soup/1", "--output", form, "--format", form]) == 0
    torch.testing.assert_close(emissions(form), emissions("runs/soup/1"), rtol=1e-4, atol=1e-5)
    assert "soup/1, soup of seeds 3, 4" in Path(form, "README.md").read_text()


@pytest.mark.parametrize("rank", [6, 3])
def test_a_rank_says_what_is_lost(here, capsys, rank):
    command = ["ensemble", "--soup", "runs/a/1", "runs/a/2", "--soup_rank", str(rank), "--name"]
    assert main([*command, f"rank{rank}"]) == 0
    said = capsys.readouterr().out
    made = json.loads(Path(f"runs/rank{rank}/1/run.json").read_text())["soup"]
    assert f"adapters of rank {rank}, which differ from the mean by {made['lost']:.2%} of its norm" in said
    assert len(said.splitlines()) == 1
    close = torch.allclose(emissions(f"runs/rank{rank}/1"), emissions("runs/soup/1"), rtol=1e-4, atol=1e-5)
    assert close == (rank == 6) == (made["lost"] < 1e-6)


def test_two_runs_of_the_same_weights_are_either_of_them(here, tmp_path, capsys):
    shutil.copy("runs/a/2/checkpoints/best.ckpt", tmp_path / "copy.ckpt")
    assert main(["ensemble", "--soup", "runs/a/2", str(tmp_path / "copy.ckpt"), "--name", "same"]) == 0
    said = []
    for run in ("runs/same/1", "runs/a/2"):
        capsys.readouterr()
        text = "Vera Lindqvist joined Halden Bank in Trondheim ."
        assert main(["predict", run, "--text", text, "--device", "cpu"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "PER" in said[0]
    torch.testing.assert_close(emissions("runs/same/1"), emissions("runs/a/2"), rtol=1e-5, atol=1e-6)


def test_other_programs_tell_it_from_a_run_and_an_ensemble(here, capsys):
    assert main(["ensemble", "runs/a/1", "runs/a/2", "--name", "both"]) == 0
    low = ["--soup_rank", "6", "--name", "low"]  # the same adapters as the exact mean's, in another way
    assert main(["ensemble", "--soup", "runs/a/1", "runs/a/2", *low]) == 0
    for name in ("both", "low"):
        assert main(["validate", "--run", f"runs/{name}/1"]) == 0
    runs = [f"runs/{name}/1" for name in ("a", "both", "soup", "low")]
    capsys.readouterr()
    assert main(["compare", *runs, "--split", "valid"]) == 0
    said = capsys.readouterr().out
    assert "soup of seeds 3, 4" in said
    assert "ensemble of seeds 3, 4" in said
    names = []
    for run in runs:
        rows = record.rows_of(Path(run))
        names.append(" ".join([rows[0]["config"], *rows[0]["overrides"]]))
    members = "of r --model.lora.rank 4 seed 3 + r --model.lora.rank 2 seed 4"
    assert names[1:] == [f"r ensemble {members}", f"r soup {members}", f"r soup --soup_rank 6 {members}"]
    rows = [row for run in runs for row in record.rows_of(Path(run)) if row["split"] == "valid"]
    assert len(results.score_table([r for r in rows if "metric" in r], "r").splitlines()) == 2 + len(runs)


@pytest.mark.parametrize("how", [["--run", "runs/soup/1", "--ckpt_path", "best"],
                                 ["--run", "runs/soup/1", "--ckpt_path", "last"],
                                 ["--run", "runs/soup/1"],
                                 ["--config", "r.yaml", "--model.lora.rank", "6", "--model.lora.alpha", "6",
                                  "--ckpt_path", "runs/soup/1/checkpoints/best.ckpt"]])  # fmt: skip
def test_it_is_not_resumed(here, capsys, how):
    before = {file: file.stat().st_mtime_ns for file in Path("runs").rglob("*")}
    assert main(["fit", *how]) == 2
    said = capsys.readouterr().err
    assert "the mean of the weights of 2 runs" in said
    assert "no optimizer state to resume from" in said
    assert len(said.splitlines()) <= 3
    assert {file: file.stat().st_mtime_ns for file in Path("runs").rglob("*")} == before


def untrained(llama, name="one.ckpt", seed=1, **changes):
    """A checkpoint with random weights, in the working folder."""
    held = torch.load(write_checkpoint(Path(), llama, **changes), weights_only=True)
    held["config"] |= {"seed_everything": seed}
    model = held["config"]["model"]
    held |= {key: {} for key in SHARED} | {"pytorch-lightning_version": lightning.__version__}
    held["hyper_parameters"] = {**model, "types": held["config"]["data"]["types"]}
    torch.save(held, name)
    return held


def lora(**changes):
    return {"peft": "lora", "lora": {**vars(Lora(rank=4, alpha=8.0)), **changes}}


OTHERS = {
    "attention": ("model.attention (bidirectional, causal)", lora() | {"attention": "causal"}),
    "pooling": ("model.architecture.pooling (last, mean)", lora() | {"pooling": "mean"}),
    "layers": ("model.architecture.layers (None, 1)", lora() | {"layers": 1}),
    "CRF": ("model.use_crf (True, False)", lora() | {"use_crf": False}),
    "decoding": ("model.architecture.constrained (True, False)", lora() | {"constrained": False}),
    "peft": ("model.peft (lora, none)", {}),
    "frozen": ("model.freeze_backbone (True, False)", lora() | {"freeze_backbone": False}),
    "top": ("model.lora.top (None, 1)", lora(top=1)),
    "targets": ("model.lora.targets (all-linear, ['q_proj'])", lora(targets=["q_proj"])),
    "DoRA": ("model.lora.dora (False, True)", lora(dora=True)),
    "repeats": ("data.encoding.repeats (None, 1)", lora() | {"encoding": {"repeats": 1}}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_setting_that_differs_is_named_with_both_values(llama, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    said, changes = OTHERS[name]
    untrained(llama, "one.ckpt", **lora(), encoding={"repeats": None})
    untrained(llama, "two.ckpt", **({"encoding": {"repeats": None}} | changes))
    assert main(["ensemble", "--soup", "one.ckpt", "two.ckpt"]) == 2
    error = capsys.readouterr().err
    assert f"one.ckpt and two.ckpt differ in {said}, so there is no mean of their weights" in error
    assert len(error.splitlines()) <= 3
    assert not Path("runs").exists()


@pytest.mark.slow
def test_other_refusals(llama, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    untrained(llama, "one.ckpt", **lora())
    untrained(llama, "dora.ckpt", **lora(dora=True))
    untrained(tiny.write_llama(tmp_path / "other", initializer_range=0.1), "other.ckpt", **lora())
    untrained(llama, "head.ckpt")
    ensembles = untrained(llama, "both.ckpt", **lora())
    ensembles["config"]["model"]["members"] = [ensembles["config"]["model"]]
    torch.save(ensembles, "both.ckpt")
    types = untrained(llama, "types.ckpt", **lora())
    types["config"]["data"]["types"] = ["PER", "ORG"]
    torch.save(types, "types.ckpt")
    for name in ("one", "dora", "head"):
        shutil.copy(f"{name}.ckpt", f"{name}2.ckpt")
    for words, said in (
        (["--soup", "one.ckpt"], "name two runs or more"),
        (["--soup", "one.ckpt", "types.ckpt"], "differ in data.types (['PER', 'LOC'], ['PER', 'ORG'])"),
        (["--soup", "one.ckpt", "other.ckpt"], f"were trained on different backbones: {llama} (sha256:"),
        (["--soup", "one.ckpt", "both.ckpt"], "both.ckpt is an ensemble; name its members"),
        (["--soup", "dora.ckpt", "dora2.ckpt"], "have model.lora.dora true: DoRA"),
        (["one.ckpt", "one2.ckpt", "--soup_rank", "2"], "--soup_rank has no effect here: it is for --soup"),
        (["--soup", "one.ckpt", "one2.ckpt", "--soup_rank", "0"], "--soup_rank is 0; it must be"),
        (["--soup", "one.ckpt", "one2.ckpt", "--soup_rank", "9"], "the exact mean has rank 8"),
        (["--soup", "one.ckpt", "one2.ckpt", "--soup_rank", "x"], "--soup_rank"),
        (["--soup", "head.ckpt", "head2.ckpt", "--soup_rank", "2"], "the runs have no adapters"),
        (["--soup", "one.ckpt", "one2.ckpt", "--soup-rank", "2"], "did you mean --soup_rank?"),
    ):
        assert main(["ensemble", *words]) == 2, words
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) <= 3
    assert not Path("runs").exists()


@pytest.mark.parametrize("kind", ["everything", "nf4", "bf16"])
def test_all_weights_and_quantized_backbones(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    llama = tiny.write_llama(tmp_path / "llama", hidden_size=64, intermediate_size=128)
    changes = {
        "everything": {"freeze_backbone": False},
        "nf4": lora() | {"quantization": "nf4"},
        "bf16": lora() | {"precision": "bf16-mixed"},
    }[kind]
    first = untrained(llama, "one.ckpt", **changes)
    second = dict(first, state_dict={name: value + 0.01 for name, value in first["state_dict"].items()})
    torch.save(second, "two.ckpt")
    torch.save(second, "two2.ckpt")
    assert main(["ensemble", "--soup", "one.ckpt", "two.ckpt", "two2.ckpt"]) == 0
    held = torch.load("runs/soup/1/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert held.keys() == first["state_dict"].keys()
    for name, value in first["state_dict"].items():
        if ".lora_" not in name:
            torch.testing.assert_close(held[name], value + 2 / 3 * 0.01)
    found = [emissions(address) for address in ("one.ckpt", "two.ckpt", "runs/soup/1")]
    between = (found[0] + 2 * found[1]) / 3
    assert (found[2] - between).abs().max() < (found[0] - found[1]).abs().max()


def test_quantized_weights_are_of_one_precision_by_any_of_its_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    llama = tiny.write_llama(tmp_path / "llama", hidden_size=64, intermediate_size=128)
    for name in ("bf16", "bf16-mixed", "32-true"):
        untrained(llama, f"{name}.ckpt", **lora(), quantization="nf4", precision=name)
    assert main(["ensemble", "--soup", "bf16.ckpt", "bf16-mixed.ckpt"]) == 0
    assert main(["ensemble", "--soup", "bf16.ckpt", "32-true.ckpt"]) == 2
    assert "differ in trainer.precision (bf16, 32-true)" in capsys.readouterr().err


def test_soups_are_members_like_any_run(here):
    words = ["ensemble", "--soup", "runs/soup/1", "runs/a/1", "--name", "more"]
    assert main(words) == 0
    about = json.loads(Path("runs/more/1/run.json").read_text())
    assert about["members"][0]["members"][1]["run"] == "runs/a/2"
    assert about["soup"]["rank"] == 10
    configs, overrides = record.recipe_of(about)
    assert configs == ["r", "soup"]
    assert overrides[0].startswith("of r soup of r --model.lora.rank 4 seed 3 + r ")


def test_what_a_soup_was_trained_on_is_known_where_it_is_a_member(here, corpus, capsys):
    assert main(["ensemble", "runs/soup/1", "runs/a/1", "--name", "mixed"]) == 0
    held = torch.load("runs/mixed/1/checkpoints/best.ckpt", weights_only=True)["members_data"]
    assert len(held) == 3  # two of the soup
    assert all(each["train"].startswith("sha256:") for each in held)
    capsys.readouterr()
    train = next(corpus.glob("train.*"))
    assert main(["test", "--run", "runs/mixed/1", "--data.test", str(train)]) == 0
    assert "is what this run was trained on" in capsys.readouterr().out


def test_a_soup_has_the_entities_that_any_of_its_members_was_trained_on(tmp_path):
    counts = [{"PER": {"Vera": 2, "Ilse": 1}}, {"PER": {"Vera": 3}, "LOC": {"Lima": 1}}]
    assert _entities(counts) == {"PER": {"Vera": 3, "Ilse": 1}, "LOC": {"Lima": 1}}
    assert _entities(counts[:1] * 3) == counts[0]
