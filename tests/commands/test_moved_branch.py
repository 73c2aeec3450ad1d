"""A tagger is used with the commit of its backbone that it was trained on, whatever came after it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_server import HubServer
from peft import PeftConfig
from untrained import write_checkpoint, write_different

from ner_lightning.commands.lightning_cli.recipe import RecipeCLI
from ner_lightning.commands.main import main
from ner_lightning.data.pretrained import _on_hub
from ner_lightning.errors import UserError
from ner_lightning.inference.loading import read_checkpoint
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.runs.folder import RECIPE, Run
from ner_lightning.training.module import NERModule

TEXT = "Vera Holt left Lima."


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with HubServer() as server:
        server.serve_this_process(monkeypatch, tmp_path / "cache")
        yield server


def move(hub, llama_files):
    """A later commit, of which only the text that no model reads is another."""
    _on_hub.cache_clear()
    return hub.add_repo("models", "lab/tiny", llama_files | {"README.md": b"a typo is corrected"})


@pytest.fixture
def trained(hub, llama_files, tmp_path):
    """The commit of the training; since then there is a later one."""
    commit = hub.add_repo("models", "lab/tiny", llama_files)
    write_different(tmp_path, "lab/tiny", ["one", "two"])
    move(hub, llama_files)
    return commit


def test_it_is_loaded_at_its_commit(trained, capsys):
    files = read_checkpoint(Path("one/untrained.ckpt"))
    assert files.settings["revision"] == files.pretrained.revision == trained
    tagger = NERTagger.from_run("one/untrained.ckpt", device="cpu")
    for form in ("adapter", "merged"):
        assert main(["export", "one/untrained.ckpt", "--output", form, "--format", form]) == 0
        again = NERTagger.from_pretrained(form, device="cpu")
        assert again(TEXT).tags == tagger(TEXT).tags
    assert PeftConfig.from_pretrained("adapter").revision == trained
    assert json.loads(Path("merged/ner_lightning.json").read_text())["settings"]["revision"] is None
    assert "is not the same" not in capsys.readouterr().err


def test_a_preparation_is_no_part_of_the_commit(trained):
    held = torch.load("one/untrained.ckpt", weights_only=True)
    held["backbone"]["weights"] += " Prepared()"
    torch.save(held, "one/untrained.ckpt")
    assert read_checkpoint(Path("one/untrained.ckpt")).pretrained.revision == trained


@pytest.mark.slow
def test_a_commit_that_is_gone_is_named(hub, llama_files, trained):
    expected = NERTagger.from_run("one/untrained.ckpt", device="cpu")(TEXT).tags
    hub._repos["models", "lab/tiny"].commits.pop(trained)
    _on_hub.cache_clear()
    assert NERTagger.from_run("one/untrained.ckpt", device="cpu")(TEXT).tags == expected  # of the cache
    shutil.rmtree("cache")
    _on_hub.cache_clear()
    with pytest.raises(UserError, match=f"lab/tiny has no commit {trained} on the Hugging Face Hub, or no l"):
        NERTagger.from_run("one/untrained.ckpt", device="cpu")


FIT = [
    *(
        "fit",
        "--model.backbone",
        "lab/tiny",
        "--trainer.precision",
        "32-true",
        "--trainer.accelerator",
        "cpu",
    ),
    *("--data.encoding.max_length", "128", "--data.encoding.overlap", "16", "--trainer.max_epochs", "1"),
]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_commands_use_it(hub, llama_files, corpus, capsys):
    commit = hub.add_repo("models", "lab/tiny", llama_files)
    assert main([*FIT, "--data.dataset", str(corpus)]) == 0
    later = move(hub, llama_files)
    run = Path("runs/run/1")
    module = NERModule.load_from_checkpoint(run / "checkpoints/best.ckpt", weights_only=True)
    assert module.settings.revision == module.pretrained.revision == commit
    for words in (
        ["predict", str(run), "--text", TEXT],
        ["test", str(run)],
        ["validate", str(run)],
        ["fit", str(run), "--trainer.max_epochs", "2"],
        ["fit", "--config", str(run / "config.yaml"), "--run", str(run), "--trainer.max_epochs", "3"],
        ["ensemble", str(run), "runs/run/2"],
        ["predict", "runs/ensemble/1", "--text", TEXT],
        ["test", "runs/ensemble/1"],
        ["ensemble", "--soup", str(run), "runs/run/2"],
        ["test", "runs/soup/1"],
    ):
        assert main(words) == 0, (words, capsys.readouterr().err)
    for one in ("run/1", "run/2", "soup/1"):
        about = json.loads(Path("runs", one, "run.json").read_text())
        assert about["backbone"]["weights"] == f"commit:{commit}"
    assert "revision: null" in (run / "config.yaml").read_text()
    assert main(["test", str(run), "--model.revision", "main"]) == 2
    said = capsys.readouterr().err
    assert f"lab/tiny is not the same (commit:{later})" in said
    assert f"Leave out --model.revision, or set it (in Python `revision`) to {commit}" in said


@pytest.mark.slow
def test_two_commits_of_one_name_are_two_backbones(hub, llama_files, tmp_path):
    commits = [hub.add_repo("models", "lab/tiny", llama_files)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_checkpoint(tmp_path / name, "lab/tiny", peft="lora", lora={"rank": 2})
        commits.append(move(hub, llama_files))
    for name in ("one", "two"):
        held = torch.load(f"{name}/untrained.ckpt", weights_only=True)
        held |= {"epoch": 0, "global_step": 0, "pytorch-lightning_version": "2", "random_states": {}}
        torch.save(held | {"hyper_parameters": held["config"]["model"]}, f"{name}/untrained.ckpt")
    assert main(["ensemble", "one/untrained.ckpt", "two/untrained.ckpt"]) == 0
    settings = read_checkpoint(Path("runs/ensemble/1/checkpoints/best.ckpt")).settings
    assert [one["revision"] for one in (settings, *settings["members"])] == commits[:2]
    assert NERTagger.from_run("runs/ensemble/1", device="cpu")(TEXT)


@pytest.mark.slow
def test_a_recipe_that_is_resumed_uses_it(trained, corpus, monkeypatch):
    monkeypatch.setattr("sys.argv", ["ner-lightning"])  # LightningCLI warns of others
    Path("run").mkdir()
    words = ["--model.backbone=lab/tiny", f"--data.dataset={corpus}", "--data.encoding.max_length=128"]
    text = RecipeCLI([*words, "--data.encoding.overlap=16"]).text()
    Path("run", RECIPE).write_text(text, encoding="utf-8")
    about = {"backbone": {"name": "lab/tiny", "weights": f"commit:{trained}"}}
    Path("run/run.json").write_text(json.dumps(about), encoding="utf-8")
    stored = [f"--config=run/{RECIPE}"]
    resumed = RecipeCLI(stored, Run(Path("run")))
    assert resumed.model.pretrained.revision == resumed.datamodule.corpus.tokenizer.revision == trained
    assert resumed.text() == text
    assert RecipeCLI([*stored, "--model.revision=main"], Run(Path("run"))).model.pretrained.revision == "main"
