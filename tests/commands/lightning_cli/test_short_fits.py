"""Fits that end early or validate rarely: what they print, keep and advise is true."""

import csv
import json
import os
import re
import signal

import pytest
import tiny
import torch
import yaml
from shared import counted_forwards, same

from ner_lightning.commands.main import main
from ner_lightning.system import progress
from ner_lightning.training.callbacks import epoch_progress, epoch_table
from ner_lightning.training.module import NERModule


@pytest.fixture
def fit(tmp_path, llama, corpus, monkeypatch, capsys):
    """Runs a small fit with more options; returns its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    config = tiny.recipe(llama, corpus, size=8)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def run(*words):
        code = main(["fit", "--config", "recipe.yaml", "--name", "r", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def epoch_lines(out):
    return [line.split() for line in out.splitlines() if re.match(r"\s+\d+(/\d+)?\s", line)]


def test_entities_that_predict_cannot_find_are_said_beside_the_score(fit, tmp_path):
    rows = [
        {"text": "Vera Holt saw Lima.", "label": [[0, 9, "PER"], [14, 18, "LOC"]]},
        {"text": "Okoro left Limaward.", "label": [[0, 5, "PER"], [11, 15, "LOC"]]},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4), encoding="utf-8")
    code, out, err = fit("--data.train=a.jsonl", "--data.valid=a.jsonl", "--trainer.max_epochs=1")
    assert code == 0, err
    said = "4 of 16 gold entities begin or end inside a word of their text, where predict cannot find them"
    assert f"{said}: its recall in use is at most 0.7500." in out
    main(["report", "runs/r/1"])
    page = (tmp_path / "runs/r/1/report.md").read_text(encoding="utf-8")
    assert f"Of the valid data, {said}" in page


def test_hundreds_of_types_are_summarised_and_their_crf_is_said_to_be_slow(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(epoch_table, "MANY_TYPES", 40)
    lines = [f"Vera B-T{index}\nleft O\nLima B-T0\n\n" for index in range(40)]
    (tmp_path / "a.conll").write_text("".join(lines), encoding="utf-8")
    files = ("--data.train=a.conll", "--data.valid=a.conll", "--trainer.max_epochs=1")
    code, out, err = fit(*files)
    assert code == 0, err
    assert re.search(r"train +40 sentences: 41 T0, 1 T1, .* and 30 more ", out)
    assert "40 types make 81 tags, whose CRF may take most of the time: --model.use_crf false" in out
    table = out[out.index("val entities") :].splitlines()
    assert (table[1].split()[0], table[31].split()[0]) == ("T0", "all")
    assert "These are the 30 most frequent types; metrics.json has 10 more." in out
    code, out, err = fit(*files, "--model.use_crf=false")
    assert "whose CRF" not in out


CHECKPOINTING = "--model.runtime.gradient_checkpointing=true"


@pytest.mark.parametrize(
    "options",
    [
        ["--model.lora.dropout=0.2"],
        ["--model.peft=none", "--model.freeze_backbone=false"],
        ["--model.peft=none", "--model.architecture.unfreeze_top=1"],
    ],
    ids=["lora", "whole", "top layer"],
)
def test_a_fit_that_recomputes_activations_ends_with_the_same_weights(fit, tmp_path, monkeypatch, options):
    calls, weights = counted_forwards(monkeypatch), []
    forwards = 4 * 2  # of a batch through a layer
    for run, more in enumerate(([], [CHECKPOINTING]), 1):
        calls.clear()
        assert fit("--trainer.max_epochs=1", *options, *more)[0] == 0
        recomputed = forwards // 2 if "top" in options[-1] else forwards
        assert calls.count(True) >= forwards
        if more:
            assert calls.count(True) == weights[0][0] + recomputed
        last = torch.load(tmp_path / f"runs/r/{run}/checkpoints/last.ckpt", weights_only=True)
        weights.append((calls.count(True), last["state_dict"]))
    (_, plain), (_, other) = weights
    assert same(plain, other)


@pytest.mark.parametrize("batches", [1, 2])
def test_a_loss_that_is_nan_stops_with_its_sentences(fit, tmp_path, monkeypatch, batches):
    step, seen = NERModule.training_step, []

    def poisoned(self, batch):
        seen.append(batch.index.tolist())
        factor = float("nan") if len(seen) == 3 else 1
        return {name: value * factor for name, value in step(self, batch).items()}

    monkeypatch.setattr(NERModule, "training_step", poisoned)
    code, _, err = fit("--trainer.max_epochs=2", f"--trainer.accumulate_grad_batches={batches}")
    assert code == 2
    assert len(seen) == 3
    assert "the loss is NaN or infinite at step" in err
    assert f"training sentences {', '.join(map(str, sorted(seen[-1])))} (from 0)" in err
    assert "There is no checkpoint yet." in err
    assert not (tmp_path / "runs/r/1/checkpoints/last.ckpt").exists()


def test_memory_that_runs_out_in_a_validation_names_the_size_of_its_batches(fit, monkeypatch):
    def out_of_memory(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(NERModule, "validation_step", out_of_memory)
    code, _, err = fit("--trainer.max_epochs=1")
    assert code == 2
    assert "Lower data.batches.eval_size (now 32)" in err
    assert "gradient_checkpointing" not in err


def test_validation_sentences_of_the_training_data_are_said(fit, tmp_path, corpus):
    lines = (corpus / "train.txt").read_text(encoding="utf-8") + "\nOsric B-PER\nran O\n"
    (tmp_path / "more.txt").write_text(lines, encoding="utf-8")
    code, out, _ = fit(
        "--data.train=more.txt", f"--data.valid={corpus / 'train.txt'}", "--trainer.max_epochs=1"
    )
    assert code == 0
    assert re.search(r"(\d+) of \1 validation sentences of at least 5 words are training sentences", out)


def test_test_sentences_of_the_training_data_are_said(fit, tmp_path, corpus, capsys):
    assert fit("--trainer.max_epochs=1")[0] == 0
    text = (corpus / "train.txt").read_text(encoding="utf-8")
    (tmp_path / "other.txt").write_text(text + "\nOsric B-PER\nran O\n", encoding="utf-8")
    (tmp_path / "new.txt").write_text(re.sub(r"(?m)^(\S+) ", r"\1x ", text), encoding="utf-8")
    said = re.compile(r"(\d+) of \1 test sentences of at least 5 words are training sentences as well")
    assert main(["test", "--data.test=other.txt"]) == 0
    assert said.search(capsys.readouterr().out)
    main(["report", "runs/r/1"])
    assert said.search((tmp_path / "runs/r/1/report.md").read_text(encoding="utf-8"))
    assert main(["test", "--data.test=other.txt", "--ckpt_path=runs/r/1/checkpoints/last.ckpt"]) == 0
    assert said.search(capsys.readouterr().out)
    assert main(["test", "--data.test=new.txt"]) == 0
    assert "training sentences" not in capsys.readouterr().out


@pytest.mark.slow
def test_an_epoch_that_was_not_validated_shows_no_scores(fit, tmp_path):
    code, out, _ = fit("--trainer.check_val_every_n_epoch=2", "--trainer.max_epochs=3")
    assert code == 0
    lines = epoch_lines(out)
    assert [line[0] for line in lines] == ["1/3", "2/3", "3/3"]
    assert [line[2:6] == ["-"] * 4 for line in lines] == [True, False, True]
    assert "Best epoch: 2" in out
    main(["report", "runs/r/1"])
    table = (tmp_path / "runs/r/1/report.md").read_text(encoding="utf-8")
    assert re.search(r"^\| 2 \(best\) \|", table, flags=re.M)


@pytest.mark.parametrize("options", [["--trainer.max_steps=3"], ["--trainer.limit_val_batches=0"]])
def test_a_fit_without_a_validation_names_the_way_on(fit, capsys, options):
    code, out, err = fit(*options)
    assert code == 0
    assert err == ""
    assert "nan" not in out
    assert "no checkpoint `best`" in out
    assert "saved as the checkpoint `best`" not in out
    advice = re.search(r"ner-lightning (validate --run \S+ --ckpt_path last)", out)
    for command in (["test"], ["predict", "--text", "Vera left ."], ["export", "--output", "out"]):
        assert main(command) == 2
        assert "--ckpt_path last" in capsys.readouterr().err
    assert main(["predict", "runs/r/1/checkpoints/last.ckpt", "--text", "Vera left ."]) == 0
    assert main(advice[1].split()) == 0


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--trainer.max_steps=100", "trainer.max_epochs ends it after 8 steps, before trainer.max_steps."),
        (
            "--trainer.max_steps=-1",
            "It takes 8 optimizer steps, few for a tagger: trainer.max_epochs gives more.",
        ),
        ("--trainer.max_steps=3", ""),
    ],
)
def test_how_many_steps_there_are_is_said_where_it_may_surprise(fit, option, said):
    _, out, _ = fit(option)
    (line, *others) = [line for line in out.splitlines() if "trainer.max_epochs" in line] or [""]
    assert line.startswith(said)
    assert bool(line) == bool(said)
    assert not others


def test_fast_dev_run_claims_nothing(fit, tmp_path):
    code, out, _ = fit("--trainer.fast_dev_run=true")
    assert code == 0
    assert "No checkpoint was saved" in out
    assert "next:" not in out
    assert not list(tmp_path.glob("runs/**/*.ckpt"))


@pytest.mark.slow
def test_a_fit_without_an_end_needs_a_schedule_without_one(fit):
    code, _, err = fit("--trainer.max_epochs=-1")
    assert code == 2
    assert "trainer.max_epochs -1" in err
    more = [
        "--model.optimizer.schedule=constant",
        "--model.optimizer.warmup=0",
        "--trainer.max_time=00:00:00:01",
    ]
    code, out, _ = fit("--trainer.max_epochs=-1", *more)
    assert code == 0
    assert "/-1" not in out


@pytest.mark.slow
def test_best_predictions_and_metrics_are_of_the_same_weights(fit, tmp_path, capsys):
    code, _, _ = fit(
        "--trainer.val_check_interval=2", "--trainer.max_epochs=4", "--trainer.log_every_n_steps=50"
    )
    assert code == 0
    folder = tmp_path / "runs/r/1"
    with (folder / "metrics.csv").open() as file:
        scores = {int(row["step"]): float(row["val/f1"]) for row in csv.DictReader(file) if row["val/f1"]}
    assert len(scores) == 8
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["val/f1"] == pytest.approx(max(scores.values()))
    best = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    assert best["global_step"] == metrics["val/step"]
    predictions = (folder / "predictions.valid.jsonl").read_text()
    assert main(["validate", "--run", str(folder)]) == 0
    again = json.loads((folder / "metrics.json").read_text())
    assert again["val/by_type"] == metrics["val/by_type"]
    words = [json.loads(line)["predicted"] for line in predictions.splitlines()]
    rescored = (folder / "predictions.valid.jsonl").read_text().splitlines()
    assert [json.loads(line)["predicted"] for line in rescored] == words


def test_the_loss_shown_is_that_of_a_word_whatever_is_accumulated(fit):
    shown = {}
    for batches in (1, 4):
        _, out, _ = fit(
            f"--trainer.accumulate_grad_batches={batches}",
            "--model.optimizer.lr=1e-9",
            "--model.optimizer.head_lr=1e-9",
            "--model.optimizer.crf_lr=1e-9",
            "--model.architecture.dropout=0",
            "--trainer.max_epochs=1",
        )
        shown[batches] = float(epoch_lines(out)[0][1])
    assert shown[4] == pytest.approx(shown[1], rel=1e-3)


def test_an_estimate_of_the_time_left_counts_the_epochs_own_batches(fit, monkeypatch):
    begun = []

    def pace(what, total, before=0):
        begun.append((what, before))
        return progress.Pace(what, total, before)

    monkeypatch.setattr(epoch_progress, "Pace", pace)
    assert fit()[0] == 0
    assert ("epoch 2: batches", 0) in begun
    assert {before for _, before in begun} == {0}


@pytest.mark.slow
def test_an_epoch_that_is_resumed_counts_from_where_it_stopped(fit, tmp_path, capsys, monkeypatch):
    step = NERModule.training_step

    def stopped(self, batch):
        if self.trainer.global_step == 5:  # the second of four steps of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(NERModule, "training_step", stopped)
        code, out, _ = fit()
    assert code == 143
    monkeypatch.setattr(progress, "EVERY", 0.0)
    assert main(["fit", "--run", "runs/r/1", "--ckpt_path", "last"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"epoch 2: batches: (\d+) of (\d+), less than a minute left", out) == [
        ("3", "4"),
        ("4", "4"),
    ]
    assert [float(line[-1]) for line in epoch_lines(out)] == [pytest.approx(0, abs=1)]
    whole, _ = fit("--name=whole")[1:]
    assert epoch_lines(out)[0][1] == epoch_lines(whole)[1][1]  # the epoch's mean loss, both parts of it


@pytest.mark.parametrize("options", [["--trainer.max_steps=3"], ["--trainer.limit_val_batches=0"]])
def test_early_stopping_looks_at_scores_only_where_there_are_any(fit, options):
    stopping = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/f1", "mode": "max"}}
    code, out, _ = fit(*options, f"--trainer.callbacks+={json.dumps(stopping)}")
    assert code == 0
    assert "no checkpoint `best`" in out


def test_a_stopper_of_one_s_own_may_monitor_what_it_likes(fit, tmp_path, monkeypatch):
    (tmp_path / "own_stopper.py").write_text(
        "from lightning.pytorch.callbacks import EarlyStopping\n\n\n"
        "class PatientEarlyStopping(EarlyStopping):\n"
        "    def __init__(self, patience: int = 5):\n"
        "        super().__init__('val/f1', mode='max', patience=patience)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = json.dumps({"class_path": "own_stopper.PatientEarlyStopping"})
    assert fit("--trainer.max_epochs=1", f"--trainer.callbacks+={given}")[0] == 0


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ("--trainer.max_epochs=6 --trainer.accumulate_grad_batches=4", 8 + 4),
        ("--trainer.max_epochs=4 --data.batches.size=32", 8 + 2),
        ("--trainer.max_epochs=4 --trainer.limit_train_batches=1", 8 + 2),
        ("--trainer.max_epochs=3 --data.batches.size=4", 8 + 8),
        ("--trainer.max_epochs=4", 8 + 8),
        ("--trainer.max_epochs=4 --trainer.max_steps=11", 8 + 3),
    ],
)
def test_a_resumed_schedule_ends_with_the_training(fit, tmp_path, capsys, options, steps):
    assert fit()[0] == 0  # two epochs of four batches
    assert main(["fit", "runs/r/1", *options.split()]) == 0
    if "max_steps" not in options:
        assert f"It takes {steps} optimizer steps" in capsys.readouterr().out
    rows = csv.DictReader((tmp_path / "runs/r/1/metrics.csv").read_text().splitlines())
    rates = {int(row["step"]): float(row["lr/head"]) for row in rows if row["lr/head"]}
    assert max(rates) == steps - 1
    rise = round(steps * 0.1)
    for step in range(8, steps):  # a row has the rate of its own step
        assert rates[step] == pytest.approx(0.03 * (1 - (step - rise) / (steps - rise)))


NO_SCORES = "It ends before its first validation, so that there are no scores and no best checkpoint."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--model.optimizer.warmup=1", "warmup 1: learning rates rise until the end and never fall"),
        ("--model.optimizer.warmup=0.05", "warmup 0.05 of 8 steps is none: rates begin at their peak"),
        ("--trainer.check_val_every_n_epoch=5", NO_SCORES),
        ("--trainer.check_val_every_n_epoch=null --trainer.val_check_interval=30", NO_SCORES),
        ("--trainer.max_steps=3", NO_SCORES),
        ("--trainer.check_val_every_n_epoch=2", None),
        ("--trainer.max_steps=4", None),
        ("--trainer.fast_dev_run=100", None),
    ],
)
def test_steps_that_are_too_few_for_an_option_are_said(fit, options, said):
    code, out, err = fit(*options.split())
    assert code == 0, err
    assert said is None or said in out
    assert (NO_SCORES in out) == (said == NO_SCORES)
    assert "before trainer.max_steps" not in out


@pytest.mark.parametrize(
    ("callback", "late", "in_time", "said"),
    [
        ("GradientAccumulationScheduler", "{'0': 1, '2': 2}", "{'0': 1, '1': 2}", "so epoch 2 never comes"),
        ("ModelCheckpoint", "9", "8", "saves nothing: every_n_train_steps is 9"),
    ],
)
def test_callbacks_that_never_act_are_said(fit, callback, late, in_time, said):
    name = "scheduling" if callback.startswith("Grad") else "every_n_train_steps"
    for value in (late, in_time):
        added = f"--trainer.callbacks+={{'class_path': '{callback}', 'init_args': {{'{name}': {value}}}}}"
        code, out, err = fit(added)
        assert code == 0, err
        assert (said in out) == (value == late)
