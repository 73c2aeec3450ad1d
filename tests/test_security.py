"""Nothing that is read is run, nothing is written elsewhere, no token is kept, no text obeyed."""

import os
import pickle
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from shared import Evil

from ner_lightning.analysis.mistakes import describe, mistakes
from ner_lightning.analysis.rows import Row
from ner_lightning.commands.main import main
from ner_lightning.runs.checkpoint_file import load_checkpoint
from ner_lightning.training.module import NERModule

TOKEN = "hf_" + "Q7" * 17


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, llama):
    """A folder with a finished run."""
    folder = tmp_path_factory.mktemp("security")
    tiny.write_corpus(folder / "data", repeat=1)
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1},
        "model": {"backbone": str(llama), "lora": {"rank": 2}},
        "data": {"dataset": "data"},
    }
    (folder / "good.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_TOKEN", "WANDB_API_KEY", "HUGGING_FACE_HUB_TOKEN"):
            patch.setenv(name, TOKEN)
        patch.setenv("WANDB_MODE", "offline")
        logger = "--trainer.logger=lightning.pytorch.loggers.WandbLogger"
        assert main(["fit", "--config", "good.yaml", logger, "--trainer.logger.project=trial"]) == 0
    os.chdir(before)
    return folder


@pytest.mark.parametrize("way", ["in a checkpoint", "as a whole zip file", "as a plain pickle"])
@pytest.mark.parametrize("command", [("test",), ("fit",), ("fit", "--config", "good.yaml"), ("predict",)])
def test_a_pickled_object_is_refused_and_not_run(run_folder, monkeypatch, capsys, tmp_path, way, command):
    monkeypatch.chdir(run_folder)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark, file = tmp_path / "was_run", tmp_path / "evil.ckpt"
    content = load_checkpoint(run_folder / "runs/good/1/checkpoints/best.ckpt")
    if way == "in a checkpoint":
        torch.save(content | {"callbacks": {"x": Evil(mark)}}, file)
    elif way == "as a whole zip file":
        torch.save(Evil(mark), file)
    else:
        file.write_bytes(pickle.dumps(Evil(mark)))
    words = [str(file), "--text", "x"] if command == ("predict",) else ["--ckpt_path", str(file)]
    assert main([*command, *words]) == 2
    assert "holds more than tensors and plain values" in capsys.readouterr().err
    assert not mark.exists()
    if way == "as a plain pickle":
        pickle.loads(file.read_bytes())
    else:
        torch.load(file, weights_only=False)
    assert mark.exists()  # so the object would have been run


def test_yaml_builds_no_objects(run_folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(run_folder)
    mark = tmp_path / "was_run"
    for name, value in (("model", "backbone"), ("data", "dataset")):
        text = f"{name}:\n  {value}: !!python/object/apply:os.system ['touch {mark}']\n"
        Path("evil.yaml").write_text(text, encoding="utf-8")
        assert main(["fit", "--config", "good.yaml", "--config", "evil.yaml"]) == 2
    assert not mark.exists()


def test_code_of_a_backbone_is_off_unless_asked_for(llama):
    assert NERModule(types=["PER"], backbone=str(llama)).settings.runtime.trust_remote_code is False


OUTSIDE = {
    "a logger": ("logger", "lightning.pytorch.loggers.CSVLogger", {"save_dir": "/tmp/elsewhere"}),
    "a logger's relative folder": ("logger", "lightning.pytorch.loggers.CSVLogger", {"save_dir": "../../x"}),
    "a checkpoint's folder": (
        "callbacks",
        "lightning.pytorch.callbacks.ModelCheckpoint",
        {"dirpath": "/tmp/x"},
    ),
    "a checkpoint's name": (
        "callbacks",
        "lightning.pytorch.callbacks.ModelCheckpoint",
        {"filename": "../../../x"},
    ),
    "a profiler": (
        "profiler",
        "lightning.pytorch.profilers.SimpleProfiler",
        {"dirpath": "..", "filename": "x"},
    ),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_paths_stay_in_the_run_folder(run_folder, monkeypatch, capsys, case):
    monkeypatch.chdir(run_folder)
    part, name, arguments = OUTSIDE[case]
    one = {"class_path": name, "init_args": arguments}
    trainer = {part: [one] if part == "callbacks" else one}
    Path("outside.yaml").write_text(yaml.safe_dump({"trainer": trainer}), encoding="utf-8")
    assert main(["fit", "--config", "good.yaml", "--config", "outside.yaml"]) == 2
    assert "leads out of the run folder" in capsys.readouterr().err


def test_tokens_are_written_nowhere(run_folder):
    files = [file for file in run_folder.rglob("*") if file.is_file()]
    assert any("wandb" in file.parts for file in files)
    assert len(files) > 15
    holding = [file for file in files if TOKEN.encode() in file.read_bytes()]
    assert holding == []


def test_text_from_data_is_shown_escaped(run_folder, monkeypatch, capsys):
    monkeypatch.chdir(run_folder)
    evil = "\x1b]0;owned\x07\u202e"
    row = Row.of({"words": [evil], "gold": [f"B-{evil}"], "predicted": ["O"], "document": None})
    shown = "\n".join(describe(row, mistakes(row)))
    assert shown.count(r"\x1b]0;owned\x07\x202e") == 3
    assert all(c.isprintable() or c == "\n" for c in shown)
    Path("evil.jsonl").write_text('{"\\u001b[31m": 1}\n', encoding="utf-8")
    capsys.readouterr()
    assert main(["fit", "--config", "good.yaml", "--data.train", "evil.jsonl"]) == 2
    assert r"fields: \x1b[31m" in capsys.readouterr().err
    assert main(["predict", "--text", evil]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_type_with_escapes_trains_and_is_shown_escaped(run_folder, monkeypatch, capsys):
    monkeypatch.chdir(run_folder)
    text = "Vera B-\x1b[31mPER\nleft O\n\n" * 4
    for name in ("train", "valid"):
        Path(f"{name}.evil").write_text(text, encoding="utf-8")
    files = [f"--data.{name}={name}.evil" for name in ("train", "valid")]
    assert main(["fit", "--config", "good.yaml", *files]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert r"\x1b[31mPER" in said.out


def test_a_checkpoint_names_no_folder_of_its_run(run_folder):
    """So that it can be continued where the run was moved to."""
    config = load_checkpoint(run_folder / "runs/good/1/checkpoints/best.ckpt")["config"]
    assert str(run_folder / "runs") not in yaml.safe_dump(config)
    assert config["trainer"]["logger"]["init_args"]["save_dir"] == "."
