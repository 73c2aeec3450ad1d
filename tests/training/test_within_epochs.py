"""Validation within an epoch, and within a step that accumulates: rows, the best, and resuming exactly."""

import os
import re
import shutil
import signal

import pytest
import torch
import yaml
from shared import same

from ner_lightning.commands.main import main
from ner_lightning.system import progress
from ner_lightning.training.callbacks.checkpoints import CheckpointFiles, LastCheckpoint
from ner_lightning.training.module import NERModule

STOPPING = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/f1", "mode": "max", "patience": 99}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, llama, corpus):
    """Two epochs of eight batches, a step for every two, validated after every three; each `best` is kept."""
    folder = tmp_path_factory.mktemp("within")
    config = {
        "seed_everything": 3,
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 2,
            "log_every_n_steps": 1,
            "val_check_interval": 3,
            "accumulate_grad_batches": 2,
            "callbacks": [STOPPING],
        },
        "model": {
            "backbone": str(llama),
            "lora": {"rank": 4},
            "optimizer": {"lr": 0.01, "head_lr": 0.03, "crf_lr": 0.1, "averaging": 0.2},
            "architecture": {"dropout": 0.2},
        },
        "data": {"dataset": str(corpus), "batches": {"size": 4}},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    save, kept = CheckpointFiles.save_checkpoint, []

    def keep(self, checkpoint, path, storage_options=None):
        save(self, checkpoint, path, storage_options)
        if path.name == "best.ckpt":
            kept.append(shutil.copy(path, folder / f"best{len(kept)}.ckpt"))

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(CheckpointFiles, "save_checkpoint", keep)
        assert main(["fit", "--config", "recipe.yaml", "--name", "whole"]) == 0
    return folder


@pytest.fixture
def workplace(whole, monkeypatch, tmp_path):
    """A folder for more runs of that recipe."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(whole / "recipe.yaml", tmp_path)
    return whole


def end(folder):
    """What a run came to, without what depends on the clock or the folder."""
    last = torch.load(next(folder.glob("runs/*/1/checkpoints/last.ckpt")), weights_only=True)
    stopping = [state for name, state in last["callbacks"].items() if name.startswith("EarlyStopping")]
    rows = next(folder.glob("runs/*/1/metrics.csv")).read_text().splitlines()
    names = rows[0].split(",")
    clocked = {
        names.index(f"train/{name}")
        for name in ("words_per_second", "subtokens_per_second", "peak_memory_gib")
    }
    table = [[v for i, v in enumerate(row.split(",")) if i not in clocked] for row in rows]
    return last["state_dict"] | last["averaged"]["weights"], stopping, table


@pytest.mark.parametrize("number", [0, -1])
def test_a_run_that_is_resumed_from_a_best_ends_the_same(workplace, tmp_path, number):
    kept = sorted(workplace.glob("best*.ckpt"))
    assert len(kept) > 1
    if number == 0:
        held = torch.load(kept[0], weights_only=True)
        assert held["accumulated"]["words"] > 0  # saved after the third batch, in the midst of a step
        assert held["global_step"] == 1
    assert main(["fit", "--ckpt_path", str(kept[number])]) == 0
    (weights, stopping, table), (others, also, rows) = end(workplace), end(tmp_path)
    assert weights.keys() == others.keys()
    assert same(weights, others)
    assert len(stopping) == 1
    assert stopping == also
    assert table == rows


def test_a_last_that_was_saved_after_a_validation_is_resumed_exactly(workplace, tmp_path, monkeypatch):
    step = NERModule.training_step

    def crashing(self, batch):
        if self.global_step == 3:  # its batches end where a validation comes
            raise ZeroDivisionError
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(NERModule, "training_step", crashing)
        with pytest.raises(ZeroDivisionError):
            main(["fit", "--config", "recipe.yaml", "--checkpoint_every_n_steps", "3"])
    held = torch.load(tmp_path / "runs/last/checkpoints/last.ckpt", weights_only=True)
    assert held["global_step"] == 3
    assert main(["fit", "--ckpt_path", "last"]) == 0
    (weights, stopping, table), (others, also, rows) = end(workplace), end(tmp_path)
    assert same(weights, others)
    assert (stopping, table) == (also, rows)


@pytest.mark.parametrize("validation", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stop_in_validation_and_resume_ends_the_same(workplace, tmp_path, monkeypatch, validation):
    step, done = NERModule.validation_step, []

    def stopped(self, batch):
        done.append(batch)
        if len(done) == validation:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(NERModule, "validation_step", stopped)
        assert main(["fit", "--config", "recipe.yaml"]) == 143
    assert len(done) == validation
    assert main(["fit", "--ckpt_path", "last"]) == 0
    (weights, stopping, table), (others, also, rows) = end(workplace), end(tmp_path)
    assert same(weights, others)
    assert (stopping, table) == (also, rows)


def test_each_validation_has_a_line_beside_its_own_weights(workplace, monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    assert main(["fit", "--config", "recipe.yaml", "--trainer.max_epochs", "1"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines() if re.match(r" *[\d.]+/1 ", line)]
    # After batch 8 nothing is validated, so the epoch itself has no scores.
    assert [(line[0], line[5] != "-") for line in lines] == [
        ("0.38/1", True),
        ("0.75/1", True),
        ("1/1", False),
    ]
    batches = re.findall(r"epoch 1: batches: (\d) of 8", out)
    assert batches == [str(number) for number in range(1, 9)]


@pytest.mark.slow
def test_validation_after_every_batch_keeps_the_best_of_all(workplace, tmp_path):
    words = ["--trainer.val_check_interval=1", "--trainer.accumulate_grad_batches=1"]
    assert main(["fit", "--config", "recipe.yaml", "--trainer.max_epochs=2", *words]) == 0
    (run,) = tmp_path.glob("runs/recipe/1")
    held = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    metrics = yaml.safe_load((run / "metrics.json").read_text())
    assert held["global_step"] == metrics["val/step"]


# Within the first epoch of four steps, at its end, and within the second.
@pytest.mark.parametrize(
    "steps", [2, pytest.param(4, marks=pytest.mark.slow), pytest.param(7, marks=pytest.mark.slow)]
)
def test_a_fit_that_ended_after_some_steps_is_resumed_there(workplace, tmp_path, steps):
    options = ["--config", "recipe.yaml", "--trainer.val_check_interval=1.0"]
    options += ["--model.optimizer.schedule=constant", "--model.optimizer.warmup=0"]
    assert main(["fit", *options, "--runs", "whole/runs", "--trainer.max_steps=8"]) == 0
    assert main(["fit", *options, "--runs", "parts/runs", f"--trainer.max_steps={steps}"]) == 0
    (run,) = tmp_path.glob("parts/runs/*/1")
    assert (run / "checkpoints/best.ckpt").is_file() == (steps >= 4)
    assert main(["fit", "--run", str(run), "--ckpt_path", "last", "--trainer.max_steps=8"]) == 0
    (weights, stopping, table), (others, also, rows) = end(tmp_path / "whole"), end(tmp_path / "parts")
    assert same(weights, others)
    assert (stopping, table) == (also, rows)


@pytest.mark.slow
def test_a_stop_at_the_end_of_an_epoch_and_resume_ends_the_same_with_a_number_of_steps(
    workplace, tmp_path, monkeypatch
):
    options = ["--config", "recipe.yaml", "--trainer.val_check_interval=1.0", "--trainer.max_epochs=3"]
    options += ["--trainer.max_steps=12"]
    assert main(["fit", *options, "--runs", "whole/runs"]) == 0
    saved = LastCheckpoint.on_train_epoch_end

    def stopped(self, trainer, pl_module):
        saved(self, trainer, pl_module)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "on_train_epoch_end", stopped)
        assert main(["fit", *options, "--runs", "parts/runs"]) == 130
    (run,) = tmp_path.glob("parts/runs/*/1")
    assert main(["fit", "--run", str(run), "--ckpt_path", "last"]) == 0
    (weights, _, table), (others, _, rows) = end(tmp_path / "whole"), end(tmp_path / "parts")
    assert same(weights, others)
    assert table == rows


@pytest.mark.parametrize(
    "options", [["--data.batches.size=2"], pytest.param(["--data.batches.tokens=64"], marks=pytest.mark.slow)]
)
def test_an_epoch_is_resumed_with_its_own_batches_alone(workplace, tmp_path, capsys, options):
    plain = ["--config", "recipe.yaml", "--trainer.val_check_interval=1.0"]
    plain += ["--model.optimizer.schedule=constant", "--model.optimizer.warmup=0"]
    assert main(["fit", *plain, "--trainer.max_steps=2"]) == 0
    (run,) = tmp_path.glob("runs/*/1")
    resume = ["fit", "--run", str(run), "--ckpt_path", "last"]
    before = (run / "checkpoints/last.ckpt").read_bytes()
    capsys.readouterr()
    assert main([*resume, *options, "--trainer.max_steps=4"]) == 2
    said = capsys.readouterr().err
    assert "within an epoch whose batches were others" in said
    assert "Traceback" not in said
    assert (run / "checkpoints/last.ckpt").read_bytes() == before
    assert main([*resume, "--trainer.max_steps=4"]) == 0  # to the end of the epoch
    assert main([*resume, *options, "--trainer.max_steps=6"]) == 0


@pytest.mark.slow
def test_a_schedule_of_accumulation_goes_on_within_an_epoch(workplace, tmp_path, monkeypatch):
    config = yaml.safe_load((tmp_path / "recipe.yaml").read_text(encoding="utf-8"))
    parts = {"class_path": "GradientAccumulationScheduler", "init_args": {"scheduling": {0: 4}}}
    config["trainer"] |= {"callbacks": [parts], "accumulate_grad_batches": 1, "max_epochs": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main(["fit", "--config", "recipe.yaml", "--runs", "whole/runs"]) == 0
    step = NERModule.training_step

    def stopped(self, batch):
        if self.trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(NERModule, "training_step", stopped)
        assert main(["fit", "--config", "recipe.yaml", "--runs", "parts/runs"]) == 143
    assert main(["fit", "--run", "parts/runs/recipe/1", "--ckpt_path", "last"]) == 0
    (weights, _, table), (others, _, rows) = end(tmp_path / "whole"), end(tmp_path / "parts")
    assert same(weights, others)
    assert table == rows
