"""`ner-lightning pretrain`: its run folder, its continuation, and the tagger on top of it."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from safetensors.torch import load_file
from shared import counted_forwards, same
from transformers import LlamaForCausalLM

from ner_lightning.commands.main import main
from ner_lightning.system.locks import only_writer
from ner_lightning.training.callbacks.checkpoints import CheckpointFiles
from ner_lightning.training.pretraining import outputs
from ner_lightning.training.pretraining.masked_words import Pretraining

MODEL = "runs/recipe-pretrained/1/model"


@pytest.fixture
def recipe_folder(tmp_path, corpus, monkeypatch):
    """A folder with a recipe whose backbone is a language model."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    LlamaForCausalLM(tiny.llama_config()).save_pretrained("model")
    tiny.llama3_tokenizer().save_pretrained("model")
    recipe = {
        "seed_everything": 1,
        "trainer": {"accelerator": "cpu", "max_epochs": 3},
        "model": {"backbone": "model", "peft": "none", "freeze_backbone": False, "optimizer": {"lr": 3e-3}},
        "data": {"dataset": str(corpus), "batches": {"size": 8}},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return tmp_path


def weights(folder="runs/recipe-pretrained/1"):
    return load_file(Path(folder, "model/model.safetensors"))


def test_what_it_learns_is_a_backbone(recipe_folder, capsys):
    assert main(["pretrain", "--config", "recipe.yaml"]) == 0
    said = capsys.readouterr().out
    assert "epoch 3/3: loss" in said
    assert f"next: ner-lightning fit --config FILE --model.backbone {MODEL}" in said
    run = recipe_folder / "runs/recipe-pretrained/1"
    assert sorted(file.name for file in run.iterdir()) == [
        "metrics.csv", "model", "recipe.yaml", "run.json",
    ]  # fmt: skip
    about = json.loads((run / "run.json").read_text())
    assert about["trained_parameters"] == about["parameters"] > 0
    assert about["pretraining"]["mask_ratio"] == 0.25
    assert about["pretraining"]["steps"] == 12
    losses = [float(word.split()[0]) for word in said.split("validation loss ")[1:]]
    assert losses[-1] < losses[0]
    assert about["pretraining"]["val_loss"] == pytest.approx(losses[-1], abs=1e-3)
    assert not (recipe_folder / "runs/last").exists()
    assert not same(weights(), load_file("model/model.safetensors"))
    assert (
        main(["fit", "--config", "recipe.yaml", "--model.backbone", MODEL, "--trainer.max_epochs", "1"]) == 0
    )
    assert main(["test"]) == 0
    assert main(["pretrain", "--config", "recipe.yaml", "--model.backbone", MODEL]) == 0
    assert main(["baseline", "--config", "recipe.yaml", "--model.backbone", MODEL]) == 2
    assert "attends bidirectionally, so it cannot be prompted" in capsys.readouterr().err


@pytest.mark.slow
def test_one_that_was_stopped_ends_with_the_same_weights(recipe_folder, capsys, monkeypatch):
    assert main(["pretrain", "--config", "recipe.yaml"]) == 0
    before = Pretraining.training_step

    def stopped(self, batch):
        if self.trainer.global_step == 6:  # within the second of three epochs
            os.kill(os.getpid(), signal.SIGTERM)
        return before(self, batch)

    monkeypatch.setattr(Pretraining, "training_step", stopped)
    assert main(["pretrain", "--config", "recipe.yaml"]) == 143
    second = "runs/recipe-pretrained/2"
    assert f"Stopped. Resume with: ner-lightning pretrain --run {second}" in capsys.readouterr().out
    assert not Path(second, "model").exists()
    monkeypatch.undo()
    monkeypatch.chdir(recipe_folder)
    assert main(["pretrain", "--run", second]) == 0
    assert same(weights(second), weights())
    table = [Path(run, "metrics.csv").read_text().count("\n") for run in (second, "runs/recipe-pretrained/1")]
    assert table[0] == table[1]


def test_in_bf16_with_adapters_and_documents(recipe_folder, cpu):
    cpu(True)
    options = ["--model.peft", "lora", "--model.freeze_backbone", "true", "--data.encoding.context", "64"]
    assert main(["pretrain", "--config", "recipe.yaml", *options, "--trainer.precision", "bf16-mixed"]) == 0
    held = weights()
    assert {tensor.dtype for tensor in held.values()} == {torch.bfloat16}
    assert not [name for name in held if "lora" in name]
    changed = [
        name
        for name, old in load_file("model/model.safetensors").items()
        if not torch.equal(old.bfloat16(), held[name])
    ]
    assert changed
    assert all("proj" in name for name in changed)


def test_activations_are_recomputed_to_the_same_weights(recipe_folder, monkeypatch):
    calls, found = counted_forwards(monkeypatch), []
    for number, checkpointing in enumerate(("false", "true"), 1):
        option = f"--model.runtime.gradient_checkpointing={checkpointing}"
        assert main(["pretrain", "--config", "recipe.yaml", option]) == 0
        found.append((calls.count(True), weights(f"runs/recipe-pretrained/{number}")))
        calls.clear()
    (once, plain), (twice, recomputed) = found
    assert twice == 2 * once > 0
    assert same(plain, recomputed)


def test_text_without_tags_is_learned_from_as_well(recipe_folder, capsys):
    Path("notes").mkdir()
    Path("notes/a.txt").write_text(
        "Vera Holt left Lima. Nobody knew why.\nShe came back.\n", encoding="utf-8"
    )
    Path("notes/b.jsonl").write_text('{"tokens": ["Okoro", "won", "."]}\n', encoding="utf-8")
    overlay = ["--config", "configs/with/pretrain.yaml"]
    options = ["--text", "notes", "--data.encoding.context", "64", "--trainer.max_epochs", "1"]
    assert main(["pretrain", "--config", "recipe.yaml", *overlay, *options]) == 0
    assert "text         4 sentences of notes" in capsys.readouterr().out
    about = json.loads(Path("runs/recipe-pretrained/1/run.json").read_text())["pretraining"]
    (text,) = about["text"]
    assert len(text.pop("fingerprint")) == 64
    assert text == {"from": "notes", "sentences": 4, "words": 16}
    assert main(["pretrain", "--config", "recipe.yaml", "--text", "nowhere.txt"]) == 2
    assert "nowhere.txt: cannot be read" in capsys.readouterr().err
    Path("empty.txt").write_text("\n", encoding="utf-8")
    assert main(["pretrain", "--config", "recipe.yaml", "--text", "empty.txt"]) == 2
    assert "--text empty.txt holds no words" in capsys.readouterr().err
    assert not Path("runs/recipe-pretrained/2").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--config", "recipe.yaml", "--mask_ratio", "1.5"],
            "--mask_ratio is 1.5; it must be a number above 0 and below 1",
        ),
        ([], "name a recipe"),
        (["--config", "recipe.yaml", "--model.attention", "causal"], "model.attention is causal"),
        (["--config", "recipe.yaml", "--trainer.devices", "9"], "trainer.devices is 9"),
        (
            ["--config", "recipe.yaml", "--trainer.max_epochs", "0"],
            "trainer.max_epochs is 0, so there is nothing to train",
        ),
        (["--config", "recipe.yaml", "--trainer.max_epochs", "-1"], "trainer.max_epochs is -1; it must be"),
        (["--config", "recipe.yaml", "--trainer.max_epochs", "null"], "trainer.max_epochs is None; it must"),
        (
            ["--config", "recipe.yaml", "--model.freeze_backbone", "true"],
            "nothing of the backbone would be trained",
        ),
        (["--config", "recipe.yaml", "--trainer.strategy", "dd"], "trainer.strategy"),
        (
            ["--config", "recipe.yaml", "--data.encoding.repeats", "1"],
            "so that masked words could be copied",
        ),
        (
            ["--config", "recipe.yaml", "--model.optimizer.averaging", "0.1"],
            "--model.optimizer.averaging has no effect in `pretrain`",
        ),
        (["--run", "corpus"], "is not a run of `ner-lightning pretrain`"),
    ],
)
def test_mistakes_take_a_line_or_two(recipe_folder, capsys, words, message):
    assert main(["pretrain", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") <= 3
    assert not (recipe_folder / "runs").exists()


def test_a_run_that_is_done_is_left_alone(recipe_folder, capsys):
    assert main(["pretrain", "--config", "recipe.yaml", "--trainer.max_epochs", "1"]) == 0
    assert main(["pretrain", "--run", "runs/recipe-pretrained/1"]) == 2
    assert "is done: its model is" in capsys.readouterr().err
    assert main(["report", "runs/recipe-pretrained/1"]) == 2
    assert main(["test", "--run", "runs/recipe-pretrained/1"]) == 2


@pytest.fixture
def begun(recipe_folder, corpus, monkeypatch):
    """A run with files and text of its own, stopped within its first epoch."""
    shutil.copytree(corpus, "data")
    Path("notes.txt").write_text("Vera Holt left Lima.\n", encoding="utf-8")
    before = Pretraining.training_step

    def stopped(self, batch):
        if self.trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return before(self, batch)

    words = ["--data.dataset", "data", "--text", "notes.txt", "--mask_ratio", "0.4"]
    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "training_step", stopped)
        assert main(["pretrain", "--config", "recipe.yaml", "--trainer.max_epochs", "1", *words]) == 143
    return recipe_folder / "runs/recipe-pretrained/1"


def changed(file):
    Path(file).write_text(Path(file).read_text(encoding="utf-8").replace("Lima", "Peru"), encoding="utf-8")


def other_weights():
    torch.manual_seed(1)
    LlamaForCausalLM(tiny.llama_config()).save_pretrained("model")


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (lambda: changed("data/train.txt"), [], "the train split (data/train.txt) is not the one"),
        (lambda: None, ["--data.train", "data/valid.txt"], "the train split (data/valid.txt) is not the one"),
        (lambda: None, ["--data.limits.train", "3"], "the train split (data/train.txt) is not the one"),
        (lambda: changed("notes.txt"), [], "the text notes.txt is not the one"),
        (
            lambda: None,
            ["--data.files.empty_words", "skip"],
            "data.files.empty_words is skip, but the checkpoint",
        ),
        (lambda: None, ["--model.optimizer.lr", "0.1"], "model.optimizer.lr is 0.1, but the checkpoint was"),
        (other_weights, [], "model is not the same (sha256"),
        (lambda: None, ["--mask_ratio", "0.25"], "--run resumes with the run's own --mask_ratio"),
    ],
)
def test_a_run_is_resumed_with_its_own_data_and_settings(begun, capsys, change, words, message):
    change()
    before = {file: file.read_bytes() for file in begun.rglob("*") if file.is_file()}
    capsys.readouterr()
    assert main(["pretrain", "--run", str(begun), *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") <= 3
    assert {file: file.read_bytes() for file in begun.rglob("*") if file.is_file()} == before


def test_a_run_that_another_command_pretrains_is_left_to_it(begun, capsys):
    with only_writer(begun):
        assert main(["pretrain", "--run", str(begun)]) == 2
    assert "another command is writing" in capsys.readouterr().err


def test_other_validation_data_are_told_of(begun, capsys):
    changed("data/valid.txt")
    assert main(["pretrain", "--run", str(begun)]) == 0
    assert (
        "The validation data (data/valid.txt) are not those of the epochs before" in capsys.readouterr().out
    )
    assert json.loads((begun / "run.json").read_text())["pretraining"]["mask_ratio"] == 0.4


def test_limits_of_a_recipe_that_do_not_apply_are_told_of(recipe_folder, capsys):
    limits = {"trainer": {"max_steps": 3, "max_time": "00:00:01:00", "max_epochs": 1}}
    limits["model"] = {"optimizer": {"averaging": 0.3}}
    Path("short.yaml").write_text(yaml.safe_dump(limits), encoding="utf-8")
    assert main(["pretrain", "--config", "recipe.yaml", "--config", "short.yaml"]) == 0
    said = capsys.readouterr().out
    for limit in ("max_steps (3)", "max_time (00:00:01:00)"):
        assert f"trainer.{limit} of the recipe has no effect in `pretrain`: it trains 1 whole epochs" in said
    assert "model.optimizer.averaging (0.3) of the recipe has no effect" in said
    assert main(["pretrain", "--config", "recipe.yaml", "--trainer.max_epochs", "1"]) == 0
    assert "of the recipe has no effect" not in capsys.readouterr().out


def test_a_checkpoint_is_saved_every_few_steps(recipe_folder, monkeypatch):
    saved = []
    save = CheckpointFiles.save_checkpoint

    def noted(self, checkpoint, path, storage_options=None):
        saved.append(checkpoint["global_step"])
        save(self, checkpoint, path, storage_options)

    monkeypatch.setattr(CheckpointFiles, "save_checkpoint", noted)
    words = ["pretrain", "--config", "recipe.yaml", "--trainer.max_epochs", "1"]
    assert main([*words, "--checkpoint_every_n_steps", "2"]) == 0
    assert saved == [2, 4]


@pytest.mark.slow
def test_two_ranks_learn_what_one_does(recipe_folder):
    # Which words are hidden differs, so there must be many for the losses to be close.
    tiny.write_corpus(Path("large"), repeat=64)
    large = ["--data.train", "large/train.txt", "--data.valid", "large/train.txt"]
    options = ["--config", "recipe.yaml", *large, "--trainer.max_epochs", "1"]
    command = [sys.executable, "-m", "ner_lightning", "pretrain", *options]
    ranks = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batches.size", "4"]
    subprocess.run([*command, *ranks], check=True, timeout=300)
    assert main(["pretrain", *options]) == 0
    rows = [Path(f"runs/recipe-pretrained/{run}/run.json") for run in (1, 2)]
    one, other = (json.loads(row.read_text())["pretraining"] for row in rows)
    assert one["steps"] == other["steps"]
    assert one["val_loss"] == pytest.approx(other["val_loss"], abs=0.3)


def test_what_goes_wrong_in_a_batch_is_said(recipe_folder, capsys, monkeypatch):
    before = Pretraining.training_step

    def wrong(self, batch):
        if self.trainer.global_step == 5:
            if self.optimizer_settings.lr == 1.0:
                raise torch.OutOfMemoryError
            return {name: value * float("nan") for name, value in before(self, batch).items()}
        return before(self, batch)

    monkeypatch.setattr(Pretraining, "training_step", wrong)
    assert main(["pretrain", "--config", "recipe.yaml"]) == 2
    said = capsys.readouterr().err
    assert "the loss is NaN or infinite at step 6" in said
    assert "after step 4: ner-lightning pretrain --run runs/recipe-pretrained/1" in said
    assert main(["pretrain", "--config", "recipe.yaml", "--model.optimizer.lr", "1"]) == 2
    assert "Lower data.batches.size (now 8)" in capsys.readouterr().err


def test_one_whose_model_could_not_be_written_is_finished_later(recipe_folder, capsys, monkeypatch):
    def full(device):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "peak_memory", full)
        assert main(["pretrain", "--config", "recipe.yaml", "--trainer.max_epochs", "1"]) != 0
    shown = float(re.findall(r"validation loss ([\d.]+)", capsys.readouterr().out)[-1])
    assert main(["pretrain", "--run", "runs/recipe-pretrained/1"]) == 0
    about = json.loads(Path("runs/recipe-pretrained/1/run.json").read_text())
    assert about["pretraining"]["val_loss"] == pytest.approx(shown, abs=1e-3)
    assert weights()
