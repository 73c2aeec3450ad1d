import json
import os
import shutil
from pathlib import Path

import pytest
import tiny
import yaml

from ner_lightning.commands.main import main
from ner_lightning.commands.options import found_paths
from ner_lightning.runs.folder import Run


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus):
    """A folder with two finished runs, whose data and backbone are named relative to it."""
    folder = tmp_path_factory.mktemp("work")
    shutil.copytree(corpus, folder / "données")
    tiny.write_language_model(folder / "backbone")
    (folder / "names.txt").write_text("alpha beta gamma delta.\n\nalpha beta.\n" * 20, encoding="utf-8")
    config = tiny.recipe("backbone", "données", size=4)
    config["trainer"]["max_epochs"] = 1
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        for seed in ("1", "2"):
            assert main(["fit", "--config", "tiny.yaml", "--name", "x", "--seed_everything", seed]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def elsewhere(trained, tmp_path, monkeypatch):
    """Another working folder, beside a copy of the runs' folder."""
    shutil.copytree(trained, tmp_path / "work", symlinks=True)
    for file in (tmp_path / "work/runs/x").glob("*/run.json"):
        about = json.loads(file.read_text(encoding="utf-8"))
        assert about["working_folder"] == str(trained)
        file.write_text(json.dumps(about | {"working_folder": str(tmp_path / "work")}), encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found_paths._tell.cache_clear()
    return tmp_path / "work"


RUN = "../work/runs/x/1"


@pytest.mark.parametrize("command", ["validate", "test"])
def test_a_run_is_scored_from_another_folder(elsewhere, capfd, command):
    assert main([command, RUN]) == 0
    error = capfd.readouterr().err
    line = f"données is not found from this folder; it is read from that of the training: {elsewhere}/données"
    assert error.count(line) == 1


def test_a_run_is_resumed_from_another_folder_and_then_from_its_own(elsewhere, monkeypatch):
    assert main(["fit", RUN, "--trainer.max_epochs", "2"]) == 0
    monkeypatch.chdir(elsewhere)
    assert main(["fit", "runs/x/1", "--trainer.max_epochs", "3"]) == 0
    assert Run(elsewhere / "runs/x/1").read("run.json")["epochs"] == 3


def test_the_command_that_a_report_proposes_works_from_another_folder(elsewhere, capfd):
    assert main(["fit", "--config", f"{RUN}/config.yaml", "--model.optimizer.lr", "1e-3"]) == 0
    assert f"training: {elsewhere}/backbone" in capfd.readouterr().err


def test_an_option_given_here_is_read_here(elsewhere, capsys):
    assert main(["test", RUN, "--data.test", "données/test.conll"]) == 2
    error = capsys.readouterr().err
    assert "données/test.conll" in error
    assert str(elsewhere / "données/test") not in error


@pytest.mark.parametrize("form", [[], ["--soup"]])
def test_a_tagger_made_elsewhere_is_scored_there(elsewhere, form):
    assert main(["ensemble", RUN, "../work/runs/x/2", "--name", "both", *form]) == 0
    assert main(["validate", "runs/both/1"]) == 0


def test_a_pretraining_is_resumed_from_another_folder(elsewhere, monkeypatch):
    monkeypatch.chdir(elsewhere)
    words = ["pretrain", "--config", "tiny.yaml", "--text", "names.txt"]
    assert main([*words, "--trainer.max_epochs", "1"]) == 0
    run = elsewhere / "runs/tiny-pretrained/1"
    about = Run(run).read("run.json")
    del about["pretraining"]["val_loss"]  # as if it was stopped
    Run(run).write("run.json", about)
    monkeypatch.chdir(elsewhere.parent / "elsewhere")
    resumed = ["pretrain", "--run", f"../work/{run.relative_to(elsewhere)}"]
    assert main([*resumed, "--trainer.max_epochs", "2"]) == 0


def test_data_that_are_nowhere_are_said_to_be_of_the_training(elsewhere, capsys):
    shutil.rmtree(elsewhere / "données")
    assert main(["validate", RUN]) == 2
    error = capsys.readouterr().err
    assert f"The run was trained in {elsewhere}, from where it is not found either" in error
    assert "--data.dataset PATH" in error


@pytest.mark.parametrize("folder", [None, "/another/machine"])
def test_a_run_of_an_earlier_version_or_another_machine_is_read_here(elsewhere, monkeypatch, folder):
    for file in elsewhere.glob("runs/x/*/run.json"):
        about = json.loads(file.read_text(encoding="utf-8")) | {"working_folder": folder}
        file.write_text(json.dumps(about), encoding="utf-8")
    assert main(["validate", RUN]) == 2
    monkeypatch.chdir(elsewhere)
    assert main(["validate", "runs/x/1"]) == 0
