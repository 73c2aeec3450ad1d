"""`ner-lightning distill`: a student of a run or an ensemble, on training sentences and text."""

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import tiny
import torch
import yaml
from shared import same
from untrained import write_checkpoint

from ner_lightning.commands.distill import _described
from ner_lightning.commands.main import main
from ner_lightning.data.corpus_settings import Supervision
from ner_lightning.data.schemes import UNTAGGED_ID
from ner_lightning.data.teacher import read_teacher
from ner_lightning.export.exported_folder import export
from ner_lightning.inference.loading import read_tagger_files
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.training.datamodule import CoNLLDataModule
from ner_lightning.training.module import NERModule

TEXT = (
    "Vera Holt left Lima. Nobody in Oslo knew why.\n\nShares of Tollan Inc ended. Okoro beat Ilse Brandt.\n"
)


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory, llama, bert, corpus):
    """Two seeds of a recipe, their ensemble, and recipes of students."""
    folder = tmp_path_factory.mktemp("distill")
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
        recipe["model"] |= {"backbone": str(bert), "peft": "none", "freeze_backbone": False}
        Path("bert.yaml").write_text(yaml.safe_dump(recipe))
        Path("text.txt").write_text(TEXT)
        for seed in ("3", "4"):
            assert main(["fit", "--config", "recipe.yaml", "--name", "a", "--seed_everything", seed]) == 0
        assert main(["ensemble", "runs/a/1", "runs/a/2", "--name", "both"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(teacher_folder, tmp_path, monkeypatch):
    """A copy, in which nothing of another test is."""
    shutil.copytree(teacher_folder, tmp_path / "w", symlinks=True)
    monkeypatch.chdir(tmp_path / "w")
    return tmp_path / "w"


def distill(*words, teacher="runs/both/1", recipe="recipe.yaml"):
    return main(["distill", teacher, "--config", recipe, "--name", "student", *words])


def weights(run):
    return torch.load(f"{run}/checkpoints/last.ckpt", weights_only=True)["state_dict"]


def agreement(run, words):
    """Mean distance of a run's probabilities of tags from the ensemble's."""
    sides = [NERTagger.from_run(each)(words=words, marginals=True) for each in (run, "runs/both/1")]
    gaps = [abs(torch.tensor(a.marginals - b.marginals)).sum(-1).mean() for a, b in zip(*sides, strict=True)]
    return torch.stack(gaps).mean().item()


@pytest.mark.slow
def test_a_student_of_an_ensemble_gives_its_probabilities(here, capsys):
    assert distill("--text", "text.txt") == 0
    said = capsys.readouterr().out
    assert "The teacher reads 32 training sentences and 4 untagged ones ..." in said
    assert "text         4 sentences without tags; runs/both/1 is the teacher" in said
    words = [words for words, _ in tiny.sentences(tiny.TRAIN)]
    assert main(["fit", "--config", "recipe.yaml", "--name", "alone"]) == 0
    assert agreement("runs/student/1", words) < agreement("runs/alone/1", words)
    about = json.loads(Path("runs/student/1/run.json").read_text())
    assert about["command"][:3] == ["ner-lightning", "distill", "runs/both/1"]
    teacher = about["teacher"]
    assert teacher["teacher"]["run"] == "runs/both/1"
    assert [member["seed"] for member in teacher["teacher"]["members"]] == [3, 4]
    assert (teacher["sentences"], teacher["text_sentences"], teacher["text_words"]) == (32, 4, 22)
    assert main(["test", "runs/student/1"]) == 0
    assert main(["report", "runs/student/1"]) == 0
    assert "runs/both/1" in Path("runs/student/1/report.md").read_text()
    header = Path("runs/student/1/metrics.csv").read_text().partition("\n")[0].split(",")
    assert {"train/ce", "train/crf", "train/kl"} <= set(header)


def test_the_folder_holds_the_teachers_marginals(here):
    assert distill("--text", "text.txt", "--trainer.max_steps", "1", "--trainer.max_epochs", "1") == 0
    (folder,) = Path("runs/teachers").iterdir()
    data = CoNLLDataModule(yaml.safe_load(Path("recipe.yaml").read_text())["data"]["dataset"], backbone="")
    train = data.corpus.split("train").sentences
    store = read_teacher(str(folder), train, data.types)
    teacher = NERTagger.from_run("runs/both/1")
    everything = [*train, *store.text]
    found = teacher(words=[s.words for s in everything], marginals=True)
    for index, one in enumerate(found):
        begin, end = store.starts[index : index + 2]
        torch.testing.assert_close(
            torch.from_numpy(store.marginals[begin:end].copy()),
            torch.from_numpy(one.marginals),
            atol=1e-5,
            rtol=0,
        )
        moves = store.transitions[index]
        assert moves.sum() == pytest.approx(len(everything[index].words) + 1, abs=1e-4)
    assert len({sentence.document for sentence in store.text}) == 2  # paragraphs
    recipe = yaml.safe_load(Path("recipe.yaml").read_text())
    taught = CoNLLDataModule(
        recipe["data"]["dataset"],
        backbone=recipe["model"]["backbone"],
        supervision=Supervision(teacher=str(folder)),
    )
    encoded = taught.corpus.encoded("train")
    assert all((each.tags >= 0).all() for each in encoded[:32])
    assert all((each.tags == UNTAGGED_ID).all() for each in encoded[32:]), "not annotated, so nothing is O"


@pytest.mark.slow
def test_what_a_teacher_says_is_computed_once(here, capsys):
    short = ["--trainer.max_epochs", "1"]
    assert distill(*short) == 0
    assert "What the teacher says is in runs/teachers/" in capsys.readouterr().out
    (folder,) = Path("runs/teachers").iterdir()
    before = (folder / "marginals.npy").stat().st_mtime_ns
    assert distill(*short, "--seed_everything", "5", "--data.supervision.text_weight", "0.5") == 0
    assert "is in runs/teachers/" in (said := capsys.readouterr().out)
    assert "The teacher reads" not in said
    assert (folder / "marginals.npy").stat().st_mtime_ns == before
    assert distill(*short, "--temperature", "2") == 0
    assert distill(*short, "--text", "text.txt") == 0
    assert distill(*short, teacher="runs/a/1") == 0
    assert len(list(Path("runs/teachers").iterdir())) == 4


@pytest.mark.slow
def test_one_that_was_stopped_ends_with_the_same_weights(here, capsys, monkeypatch):
    options = ["--text", "text.txt", "--trainer.max_epochs", "3"]
    assert distill(*options) == 0
    before = NERModule.training_step

    def stopped(self, batch):
        if self.trainer.global_step == 12:  # within the second of three epochs
            import signal

            os.kill(os.getpid(), signal.SIGTERM)
        return before(self, batch)

    monkeypatch.setattr(NERModule, "training_step", stopped)
    assert distill(*options) == 143
    assert "Resume with: ner-lightning fit runs/student/2" in capsys.readouterr().out
    monkeypatch.setattr(NERModule, "training_step", before)
    assert main(["fit", "--run", "runs/student/2"]) == 0
    assert same(weights("runs/student/1"), weights("runs/student/2"))


@pytest.mark.parametrize(
    "options",
    [
        ["--model.use_crf", "false"],
        pytest.param(["--model.loss.ce", "0", "--model.loss.crf", "0"], marks=pytest.mark.slow),
        pytest.param(
            ["--data.encoding.context", "64", "--data.batches.tokens", "128"], marks=pytest.mark.slow
        ),
        pytest.param(["--model.attention", "causal", "--temperature", "2"], marks=pytest.mark.slow),
        pytest.param(["--trainer.accumulate_grad_batches", "2"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_students_of_every_kind(here, options):
    assert (
        distill("--text", "text.txt", "--trainer.max_epochs", "2", "--data.limits.train", "8", *options) == 0
    )
    assert main(["validate", "runs/student/1"]) == 0


@pytest.mark.slow
def test_a_student_of_another_family_and_tokenizer(here):
    assert distill("--text", "text.txt", "--trainer.max_epochs", "2", recipe="bert.yaml") == 0
    assert distill("--trainer.max_epochs", "1", teacher="runs/student/1") == 0  # and back


@pytest.mark.parametrize("form", ["merged", pytest.param("onnx", marks=pytest.mark.slow)])
def test_an_exported_folder_teaches(here, form):
    assert main(["export", "runs/a/1", "--output", "out", "--format", form]) == 0
    assert distill("--trainer.max_epochs", "1", teacher="out") == 0


@pytest.mark.slow
def test_what_a_graph_says_is_not_what_another_says(llama, tmp_path):
    """A softmax tagger's ONNX folder has all its weights in the graph."""
    described = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        path = write_checkpoint(tmp_path / str(number), llama, use_crf=False)
        held = torch.load(path, weights_only=True)
        held["state_dict"] = {name: value * number for name, value in held["state_dict"].items()}
        torch.save(held, path)
        export(str(path), tmp_path / f"out{number}", format="onnx")
        options = SimpleNamespace(teacher="t", temperature=1.0, text=())
        described.append(_described(read_tagger_files(str(tmp_path / f"out{number}"), tmp_path), options, ()))
    assert described[0]["weights"] != described[1]["weights"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "recipe.yaml"], "name the teacher first: ner-lightning distill RUN --config"),
        (["runs/both/1"], "name a recipe, whose backbone and data are used: --config"),
        (
            ["runs/both/1", "--config", "recipe.yaml", "--teacher", "runs/a/1"],
            "the teacher is named twice, as runs/both/1 and as --teacher runs/a/1; name it once",
        ),
        (
            ["--teacher=runs/a/1", "--config", "recipe.yaml", "--teacher", "runs/both/1"],
            "the teacher is named twice, as --teacher runs/a/1 and as --teacher runs/both/1",
        ),
        (["runs/none/1", "--config", "recipe.yaml"], "runs/none/1"),
        (
            ["runs/both/1", "--config", "recipe.yaml", "--temperature", "0"],
            "--temperature is 0.0; it must be",
        ),
        (["runs/both/1", "--config", "recipe.yaml", "--text", "none.txt"], "none.txt: cannot be read"),
        (
            ["runs/both/1", "--config", "recipe.yaml", "--data.types", "[PER,ORG,LOC,MISC,EVENT]"],
            "the teacher knows .*, but the student's data have .*EVENT",
        ),
        (
            ["runs/both/1", "--config", "recipe.yaml", "--data.supervision.teacher", "x"],
            "`distill` sets data.supervision.teacher itself",
        ),
        (["runs/both/1", "--config", "recipe.yaml", "--modle.lr", "1"], "modle.lr"),
    ],
)
def test_mistakes_are_named_before_anything_is_computed(here, capsys, words, message):
    assert main(["distill", *words]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") <= 3
    assert not Path("runs/teachers").exists()


def test_a_teacher_without_a_weight_is_refused(here, capsys):
    assert distill("--trainer.max_epochs", "1") == 0
    (folder,) = Path("runs/teachers").iterdir()
    fit = ["fit", "--config", "recipe.yaml", "--data.supervision.teacher", str(folder)]
    assert main(fit) == 2
    assert "model.loss.kl is 0: nothing is learned from it" in capsys.readouterr().err
    Path("teacher.yaml").write_text(yaml.safe_dump({"data": {"supervision": {"teacher": str(folder)}}}))
    assert main(["pretrain", "--config", "recipe.yaml", "--config", "teacher.yaml"]) == 2
    assert "data.supervision.teacher has probabilities of tags" in capsys.readouterr().err
    assert main(["fit", "--config", "recipe.yaml", "--model.loss.kl", "1", "--trainer.max_epochs", "1"]) == 0
    assert "model.loss.kl has no effect here: there is no teacher" in capsys.readouterr().out


def test_the_weight_of_the_teacher_stays_where_it_stands_in_a_group(here):
    loss = '{"ce": 0, "crf": 0.5, "kl": 0.3}'
    assert distill("--trainer.max_epochs", "1", "--model.loss", loss) == 0
    assert yaml.safe_load(Path("runs/student/1/config.yaml").read_text())["model"]["loss"]["kl"] == 0.3


@pytest.mark.slow
def test_the_temperature_of_an_export_is_the_teachers(here):
    marginals = {}
    for temperature in (1.0, 3.0):
        export("runs/a/1", Path(f"out{temperature}"), temperature=temperature)
        assert distill("--trainer.max_epochs", "1", teacher=f"out{temperature}") == 0
        about = yaml.safe_load(Path("runs/last/run.json").read_text())["teacher"]
        assert (about["temperature"], about["calibrated"]) == (1.0, temperature)
        config = yaml.safe_load(Path("runs/last/config.yaml").read_text())
        folder = Path(config["data"]["supervision"]["teacher"])
        marginals[temperature] = numpy.load(folder / "marginals.npy")
    assert abs(marginals[1.0] - marginals[3.0]).max() > 0.01
    assert (marginals[1.0].max(1) >= marginals[3.0].max(1) - 1e-3).mean() > 0.9  # softer


def test_a_loss_that_needs_a_teacher_is_refused_without_one(here, capsys):
    loss = '{"ce": 1, "crf": 0, "kl": 1}'
    assert main(["fit", "--config", "recipe.yaml", "--model.loss", loss]) == 2
    assert "without kl, which needs a teacher, nothing trains the CRF" in capsys.readouterr().err


def test_the_weight_of_the_teacher_may_stand_in_a_recipe(here):
    Path("kl.yaml").write_text(yaml.safe_dump({"model": {"loss": {"kl": 0.3}}}), encoding="utf-8")
    assert distill("--trainer.max_epochs", "1", "--config", "kl.yaml") == 0
    assert yaml.safe_load(Path("runs/student/1/config.yaml").read_text())["model"]["loss"]["kl"] == 0.3
