"""What a run may not change when it is resumed, and what it writes of having been resumed."""

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
import tiny
import torch
import yaml

from ner_lightning.commands.lightning_cli.library_warnings import without_library_notes
from ner_lightning.commands.lightning_cli.recipe import RecipeCLI
from ner_lightning.commands.main import main
from ner_lightning.errors import UserError
from ner_lightning.inference.loading import _last_run as last_run
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.training.callbacks.checkpoints import BestCheckpoint
from ner_lightning.training.module import NERModule


@pytest.fixture(scope="module")
def begun(tmp_path_factory, llama):
    """A folder with data and a run of one epoch."""
    folder = tmp_path_factory.mktemp("begun")
    before = Path.cwd()
    os.chdir(folder)
    try:
        tiny.write_corpus(Path("data"), repeat=1)
        recipe = {
            "seed_everything": 3,
            "trainer": {"accelerator": "cpu", "max_epochs": 1},
            "model": {"backbone": str(llama), "lora": {"rank": 4, "targets": ["q_proj", "v_proj"]}},
            "data": {"dataset": "data", "batches": {"size": 4}},
        }
        Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
        assert main(["fit", "--config", "recipe.yaml"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def begun_copy(begun, tmp_path, monkeypatch):
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


RESUME = ["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"]


def about():
    return json.loads(Path("runs/recipe/1/run.json").read_text())


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("model.lora.rank", "8", "model.lora.rank is 8, but the checkpoint was trained with 4: its weights"),
        ("model.lora.alpha", "8", "model.lora.alpha is 8.0, but the checkpoint was trained with 32.0"),
        ("model.lora.targets", "[q_proj]", "model.lora.targets is ['q_proj'], but the checkpoint was"),
        (
            "model.architecture.layers",
            "1",
            "model.architecture.layers is 1, but the checkpoint was trained with None",
        ),
        (
            "model.architecture.pooling",
            "mean",
            "model.architecture.pooling is mean, but the checkpoint was trained with last",
        ),
        ("model.attention", "causal", "model.attention is causal, but the checkpoint was trained with bidir"),
        (
            "model.architecture.constrained",
            "false",
            "model.architecture.constrained is False, but the checkpoint was trained with True",
        ),
        (
            "model.optimizer.lr",
            "0.5",
            "model.optimizer.lr is 0.5, but the checkpoint was trained with 0.0001: the optimizer goes",
        ),
        ("seed_everything", "4", "seed_everything is 4, but the checkpoint was trained with 3: the order of"),
        (
            "data.files.tags_column",
            "1",
            "data.files.tags_column is 1, but the checkpoint was trained with None: it would learn",
        ),
        ("data.files.unannotated", "unknown", "data.files.unannotated is unknown, but the checkpoint was"),
        ("data.types", "[LOC,ORG,PER,MISC]", "Set --data.types to [PER,ORG,LOC,MISC]"),
    ],
)
def test_settings_that_a_resumed_run_must_share(begun_copy, capsys, monkeypatch, option, value, said):
    monkeypatch.setattr("ner_lightning.model.build.load_backbone", lambda *_, **__: pytest.fail("loaded"))
    before = about()
    assert main([*RESUME, f"--{option}", value]) == 2
    message = capsys.readouterr().err
    assert f"ner-lightning: {said}" in message or said in message.splitlines()[-1]
    assert len(message[message.index("ner-lightning: ") :].splitlines()) <= 3
    assert about() == before


def test_a_test_with_adapters_of_another_rank_is_refused(begun_copy, capsys):
    assert main(["test", "--model.lora.rank", "8"]) == 2
    assert "model.lora.rank is 8, but the checkpoint was trained with 4" in capsys.readouterr().err


def test_the_order_of_targets_is_no_change_and_settings_of_the_step_may_change(begun_copy):
    free = [
        "--model.lora.targets",
        "[v_proj,q_proj]",
        "--model.architecture.dropout",
        "0.2",
        "--data.batches.size",
        "2",
    ]
    assert main([*RESUME, *free]) == 0


def test_a_completed_run_that_is_trained_further_follows_its_new_schedule(begun_copy):
    done = torch.load("runs/recipe/1/checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert main([*RESUME, "--trainer.log_every_n_steps", "1"]) == 0
    with Path("runs/recipe/1/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["lr/head"]) for row in rows if row["lr/head"] and int(row["step"]) >= done]
    assert len(rates) == done
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.4 * 1e-4


@pytest.mark.parametrize("where", ["in its folder", "in a new one", "from a copy of the checkpoint"])
def test_changed_training_data_are_refused(begun_copy, capsys, where):
    with Path("data/train.txt").open("a") as file:
        file.write("\nOslo B-LOC\nwon O\n")
    words = {
        "in its folder": RESUME,
        "in a new one": [
            "fit",
            "--config",
            "recipe.yaml",
            "--ckpt_path",
            "runs/recipe/1/checkpoints/last.ckpt",
        ],
        "from a copy of the checkpoint": ["fit", "--config", "recipe.yaml", "--ckpt_path", "copy.ckpt"],
    }[where]
    shutil.copyfile("runs/recipe/1/checkpoints/last.ckpt", "copy.ckpt")
    before = about()
    assert main([*words, "--trainer.max_epochs", "2"]) == 2
    error = capsys.readouterr().err
    assert "the training data (data/train.txt) are not those that this run was trained on" in error
    assert "Restore them to resume it, or train anew" in error
    assert about() == before
    assert [item.name for item in Path("runs/recipe").iterdir()] == ["1"]


def test_changed_validation_data_are_said_and_the_earlier_ones_stay_in_run_json(begun_copy, capsys):
    before = about()
    shutil.copyfile("data/test.txt", "data/valid.txt")
    assert main(RESUME) == 0
    assert capsys.readouterr().out.count("The validation data (data/valid.txt) are not those of the") == 1
    after = about()
    assert after["earlier_data"] == [{"epochs": 1, "data": before["data"]}]
    assert after["data"]["valid"]["fingerprint"] != before["data"]["valid"]["fingerprint"]
    assert main([*RESUME, "--trainer.max_epochs", "3"]) == 0  # with the data of the epoch before
    assert "validation data" not in capsys.readouterr().out
    assert len(about()["earlier_data"]) == 1


def test_a_run_is_validated_on_its_own_data(begun_copy, capsys):
    run = Path("runs/recipe/1")
    before = {
        name: (run / name).read_text() for name in ("metrics.json", "run.json", "predictions.valid.jsonl")
    }
    for options in (["--data.valid", "data/test.txt"], ["--data.limits.valid", "1"]):
        assert main(["validate", str(run), *options]) == 2
        assert "its scores would take the place of the run's own" in capsys.readouterr().err
    assert {name: (run / name).read_text() for name in before} == before
    assert main(["validate", str(run)]) == 0
    after = json.loads((run / "metrics.json").read_text())
    scores = json.loads(before["metrics.json"])
    assert (after["val/epoch"], after["val/step"]) == (scores["val/epoch"], scores["val/step"])
    assert after["val/step"] > 0
    assert json.loads((run / "run.json").read_text())["data"] == json.loads(before["run.json"])["data"]


@pytest.mark.parametrize("command", ["validate", pytest.param("test", marks=pytest.mark.slow)])
def test_the_scores_of_another_checkpoint_go_to_a_folder_of_their_own(begun_copy, capsys, command):
    run, other = Path("runs/recipe/1"), Path("runs/recipe/2")
    assert main(["test", str(run)]) == 0
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    capsys.readouterr()
    assert main([command, "--run", str(run), "--ckpt_path", "last"]) == 0
    said = capsys.readouterr()
    assert "keeps the scores of its checkpoint `best`; those of `last` go to a folder" in said.err
    assert str(other) in said.out
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    scored = json.loads((other / "run.json").read_text())["scored"]
    assert scored == {"checkpoint": str((run / "checkpoints/last.ckpt").resolve()), "step": 2}
    assert main(["report", str(other)]) == 0
    assert (
        "Its checkpoint is last, step 2: not the best of its training." in (other / "report.md").read_text()
    )
    assert (
        main(["compare", str(run), str(other), "--split", {"validate": "valid", "test": "test"}[command]])
        == 0
    )
    assert "scored.checkpoint" in capsys.readouterr().out


@pytest.mark.slow
def test_scores_of_the_training_data_are_told_of(begun_copy, capsys):
    said = "is what this run was trained on: its scores say nothing of other text"
    assert main(["test", "runs/recipe/1", "--data.test", "data/train.txt"]) == 0
    assert said in capsys.readouterr().out
    assert main(["report", "runs/recipe/1"]) == 0
    report = Path("runs/recipe/1/report.md")
    assert (
        "The test data are the training data: their scores say nothing of other text." in report.read_text()
    )
    assert main(["test", "runs/recipe/1"]) == 0
    assert said not in capsys.readouterr().out
    assert main(["test", "runs/recipe/1", "--data.dataset", "data/train.txt"]) == 2
    assert (
        "a file that this run was trained on whole or in other parts, so that it has"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_held_out_part_of_a_file_that_changed_is_refused(begun_copy, capsys):
    Path("all.txt").write_text(Path("data/train.txt").read_text() * 3, encoding="utf-8")
    assert main(["fit", "--config", "recipe.yaml", "--data.dataset", "all.txt", "--name", "parts"]) == 0
    assert main(["test", "runs/parts/1"]) == 0
    with Path("all.txt").open("a", encoding="utf-8") as file:
        file.write("\nOslo B-LOC\nwon O\n\nLima B-LOC\nlost O\n")
    capsys.readouterr()
    assert main(["test", "runs/parts/1"]) == 2
    said = "is held out of a file that has changed since this run was trained"
    assert said in capsys.readouterr().err
    shutil.copytree("runs/parts/1", "runs/parts/2")
    assert main(["ensemble", "runs/parts/1", "runs/parts/2"]) == 0
    for command, why in (("validate", "is not what this run was validated on"), ("test", said)):
        capsys.readouterr()
        assert main([command, "runs/ensemble/1"]) == 2, "members keep what they were trained on"
        assert why in capsys.readouterr().err
    assert main(["test", "runs/parts/1", "--data.test", "data/test.txt"]) == 0


def test_scoring_adds_no_point_to_the_curve(begun_copy):
    before = Path("runs/recipe/1/metrics.csv").read_text()
    assert main(["validate", "runs/recipe/1"]) == 0
    assert main(["test", "runs/recipe/1"]) == 0
    assert Path("runs/recipe/1/metrics.csv").read_text() == before


def test_a_fit_that_is_at_its_end_says_so(begun_copy, capsys):
    for words in (["--run", "runs/recipe/1"], ["--config", "recipe.yaml", "--ckpt_path", "last"]):
        assert main(["fit", *words]) == 0
        assert "Nothing was trained: all 1 epochs are done (trainer.max_epochs)." in capsys.readouterr().out


def test_a_crf_that_was_not_trained_stays_so(begun_copy, capsys):
    assert main(["fit", "--config", "recipe.yaml", "--name", "none", "--model.loss.crf", "0"]) == 0
    assert main([*RESUME, "--model.loss.crf", "1"]) == 2
    assert "trained with 0.0, so that its CRF was not trained" in capsys.readouterr().err


def test_the_rate_of_a_step_is_logged_with_it(begun_copy):
    assert main(["fit", "--config", "recipe.yaml", "--trainer.log_every_n_steps", "1"]) == 0
    with Path("runs/last/metrics.csv").open() as file:
        rates = [float(row["lr/backbone"]) for row in csv.DictReader(file) if row["lr/backbone"]]
    assert len(rates) == 2
    assert rates[0] > rates[1] > 0, "none is that of a step that never comes"


def test_which_run_the_last_one_is_is_said_where_none_is_named(begun_copy, capsys):
    f1 = json.loads(Path("runs/recipe/1/metrics.json").read_text())["val/f1"]
    assert main(["predict", "--text", "Vera left."]) == 0
    assert f"The last run: runs/recipe/1, F1 {f1:.4f} on valid." in capsys.readouterr().err
    assert main(["predict", "runs/recipe/1", "--text", "Vera left."]) == 0
    assert "The last run" not in capsys.readouterr().err


def test_a_seed_may_be_drawn(begun_copy):
    seeds = set()
    for number in (2, 3):
        words = ["fit", "--config", "recipe.yaml", "--seed_everything", "true", "--trainer.max_steps", "1"]
        assert main(words) == 0
        about = json.loads(Path(f"runs/recipe/{number}/run.json").read_text())
        config = yaml.safe_load(Path(f"runs/recipe/{number}/config.yaml").read_text())
        assert about["seed"] == config["seed_everything"]
        seeds.add(about["seed"])
    assert len(seeds) == 2
    with without_library_notes():
        recipe = RecipeCLI(["--config", "recipe.yaml", "--seed_everything", "true"])
    assert recipe.datamodule.seed == recipe.config.seed_everything > 1
    assert not seeds & {0, 1}


def test_run_json_names_the_commands_as_they_were_typed(begun_copy):
    assert about()["command"] == ["ner-lightning", "fit", "--config", "recipe.yaml"]
    assert main(RESUME) == 0
    assert main(["test"]) == 0
    again = ["fit", "--run", "runs/recipe/1", "--trainer.max_epochs", "3"]
    assert main(again) == 0
    after = about()
    assert after["command"] == ["ner-lightning", "fit", "--config", "recipe.yaml"]
    assert after["continued"] == [["ner-lightning", *RESUME], ["ner-lightning", *again]]
    assert after["test_command"] == ["ner-lightning", "test"]
    assert set(after["data"]) == {"train", "valid", "test"}  # a resumed run forgets nothing


@pytest.mark.parametrize("error", [KeyboardInterrupt(), torch.OutOfMemoryError("CUDA out of memory")])
@pytest.mark.parametrize("command", ["test", "fit"])
def test_only_a_fit_says_how_to_continue(begun_copy, capsys, monkeypatch, command, error):
    def failing(self, batch):
        raise error

    step = {"test": "test_step", "fit": "training_step"}[command]
    monkeypatch.setattr(NERModule, step, failing)
    words = RESUME if command == "fit" else ["test"]
    assert main(words) == (130 if isinstance(error, KeyboardInterrupt) else 2)
    said = "".join(capsys.readouterr())
    assert ("ner-lightning fit runs/recipe/1" in said) == (command == "fit")


@pytest.fixture(scope="module")
def relative(begun, llama, tmp_path_factory):
    """A folder with a backbone, and a run that names it as it is seen from there."""
    folder = tmp_path_factory.mktemp("relative")
    shutil.copytree(begun, folder, dirs_exist_ok=True, symlinks=True)
    shutil.copytree(llama, folder / "bb")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["fit", "--config", "recipe.yaml", "--model.backbone", "bb", "--name", "near"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.mark.slow
def test_a_backbone_named_by_a_relative_path_is_found_from_elsewhere(relative, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = str(relative / "runs/near/1")
    data = ["--data.dataset", str(relative / "data")]
    assert main(["predict", run, "--text", "Vera Holt"]) == 0
    assert main(["validate", run, *data]) == 0
    assert main(["export", run, "--output", "whole"]) == 0
    assert str(relative) not in Path("whole/ner_lightning.json").read_text()  # others are to load it
    assert main(["fit", run, *data, "--trainer.max_epochs", "2"]) == 0


@pytest.mark.parametrize("words", [["predict", "--text", "Vera"], ["export", "--output", "out"], ["test"]])
def test_a_backbone_that_is_on_another_machine(relative, tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(relative / "runs", "runs", symlinks=True)
    monkeypatch.setattr(Path, "exists", lambda self: "bb" not in self.parts and os.path.lexists(self))
    assert main([words[0], "runs/near/1", *words[1:]]) == 2
    said = capsys.readouterr().err
    assert f"model.backbone: it was trained on the folder bb (then {relative / 'bb'}), which is not" in said
    assert "--backbone DIR, in Python backbone=DIR" in said
    assert "export the run where the folder is" in said
    assert len(said.strip().split("\n")) == 3
    assert "Hub" not in said


def test_a_backbone_that_lies_elsewhere_now_is_named(relative, llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(relative / "runs", "runs", symlinks=True)
    monkeypatch.setattr(
        "ner_lightning.commands.lightning_cli.start.trained_on", lambda *_: pytest.fail("the user's own wins")
    )
    data = ["--data.dataset", str(relative / "data")]
    assert main(["validate", "runs/near/1", "--model.backbone", str(llama), *data]) == 0


@pytest.mark.parametrize("command", ["predict", "export", "test"])
def test_a_moved_backbone_is_named_and_its_weights_are_checked(
    relative, llama, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(relative / "runs", "runs", symlinks=True)
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: "bb" not in self.parts and exists(self))
    more = {"predict": ["--text", "Vera"], "export": ["--output", "out", "--format", "adapter"]}
    words = [command, "runs/near/1", *more.get(command, ["--data.dataset", str(relative / "data")])]
    tiny.write_llama(tmp_path / "other", hidden_size=16)
    assert main([*words, "--backbone", "other"]) == 2
    assert "other is not the same (sha256:" in capsys.readouterr().err
    assert not Path("out").exists()
    shutil.copytree(llama, tmp_path / "here")
    assert main([*words, "--backbone", "here"]) == 0
    if command == "export":
        record = json.loads(Path("out/ner_lightning.json").read_text())
        assert record["origin"]["folder"] == str(tmp_path / "here")
        assert json.loads(Path("out/adapter_config.json").read_text())["base_model_name_or_path"] == str(
            tmp_path / "here"
        )
        monkeypatch.chdir(relative)
        assert main(["predict", str(tmp_path / "out"), "--text", "Vera"]) == 0
        shutil.move(tmp_path / "here", tmp_path / "there")
        with pytest.raises(UserError, match="backbone=DIR"):
            NERTagger.from_pretrained(tmp_path / "out")
        NERTagger.from_pretrained(tmp_path / "out", backbone=str(tmp_path / "there"))
        assert (
            main(
                ["export", str(tmp_path / "out"), "--output", "whole", "--backbone", str(tmp_path / "there")]
            )
            == 0
        )
        with pytest.raises(UserError, match="holds its own backbone; leave out"):
            NERTagger.from_pretrained("whole", backbone="there")


def test_a_run_knows_the_settings_of_its_earlier_epochs(begun_copy):
    assert main(RESUME) == 0
    earlier = about()["earlier_settings"]
    assert earlier == [{"epochs": 1, "settings": {"trainer.max_epochs": 1}}]
    assert main(RESUME) == 0  # with the same
    assert about()["earlier_settings"] == earlier


def test_another_number_of_ranks_is_said_and_kept(begun_copy, capsys):
    file = begun_copy / "runs/recipe/1/run.json"
    file.write_text(json.dumps(about() | {"ranks": 4}), encoding="utf-8")
    assert main(RESUME) == 0
    said = capsys.readouterr().out
    assert "The epochs before were trained on 4 ranks, the next ones on 1: a step now has 0.25 times" in said
    assert about()["ranks"] == 1
    assert about()["earlier_settings"][0]["settings"]["ranks"] == 4


@pytest.mark.slow
def test_the_configuration_of_a_run_is_a_recipe_of_other_commands(begun_copy, capsys):
    config = "runs/recipe/1/config.yaml"
    assert main(["memory", "--config", config]) == 0
    assert main(["fit", "--config", config, "--name", "again"]) == 0
    assert "weights_only" not in Path(config).read_text()


def test_a_key_that_stands_twice_in_a_recipe_is_refused(begun_copy, capsys):
    Path("twice.yaml").write_text(Path("recipe.yaml").read_text() + "trainer:\n  max_epochs: 2\n")
    assert main(["fit", "--config", "twice.yaml"]) == 2
    assert "trainer stands twice, first in line " in capsys.readouterr().err


GROUPS = ["model.lora", "model.loss", "model.optimizer", "model.runtime", "data.batches", "data.encoding"]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("value", ["", " 8", " [1]"])
def test_a_group_of_settings_that_is_none_is_refused(begun_copy, capsys, group, value):
    section, name = group.split(".")
    Path("more.yaml").write_text(f"{section}:\n  {name}:{value}\n")
    assert main(["fit", "--config", "recipe.yaml", "--config", "more.yaml"]) == 2
    assert f"more.yaml: {group} must hold options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.train", "5"], "data.train must be one file or folder"),
        (["--data.train", "[a.txt,b.txt]"], "ner-lightning data convert A B --output all.jsonl"),
        (["--data.train", "data"], "data has files of several splits (train.txt, "),
        (["--data.test", "data"], "data has files of several splits (train.txt, "),
        (["--data.test", "none.txt"], "data.test: none.txt: cannot be read: No such file"),
        (["--data.test", "test-*-of-00002.txt"], "data.test: test-*-of-00002.txt: cannot be read"),
        (["--data.valid=runs/recipe/1/checkpoints"], "checkpoints: no file in this folder ends in "),
        (["--model.lora.targets", "[q_proj,v_prj]"], "no layer is named v_prj; this backbone has"),
        (["--model.architecture.causal_below", "2"], "causal_below is 2, and the backbone has 2 layers"),
        (
            [
                "--trainer.callbacks+=ModelCheckpoint",
                "--trainer.callbacks.dirpath=checkpoints",
                "--trainer.callbacks.filename=best",
            ],
            "ModelCheckpoint would overwrite the run's own checkpoint best",
        ),
        (
            ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_last=true"],
            "ModelCheckpoint would overwrite the run's own checkpoint last",
        ),
    ],
)
def test_what_would_do_something_else_is_refused(begun_copy, capsys, words, said):
    assert main(["fit", "--config", "recipe.yaml", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_of_several_splits_is_no_test_set(begun_copy, capsys):
    assert main(["test", "--data.test", "data"]) == 2
    assert "name the one of test, or the folder as data.dataset" in capsys.readouterr().err


def test_the_name_of_a_layer_is_a_target(begun_copy):
    words = ["--model.lora.targets", "q_proj", "--name", "one"]
    assert main(["fit", "--config", "recipe.yaml", *words]) == 0
    names = torch.load("runs/one/1/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert {name.split(".")[-4] for name in names if "lora_A" in name} == {"q_proj"}


def test_a_run_that_is_past_its_epochs_says_so(begun_copy, capsys):
    assert main([*RESUME[:-1], "3"]) == 0
    assert main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "1"]) == 2
    assert "the run has done 3 epochs already; set trainer.max_epochs above that" in capsys.readouterr().err


def test_types_whose_names_differ_by_case_are_said(begun_copy, capsys):
    file = Path("data/train.txt")
    file.write_text(file.read_text() + "\nVera B-Per\n")
    assert main(["fit", "--config", "recipe.yaml", "--name", "alike"]) == 0
    assert "differ by case alone" in capsys.readouterr().out


def predicted(split):
    return len(Path(f"runs/over/1/predictions.{split}.jsonl").read_text().splitlines())


def test_a_run_that_was_trained_on_some_batches_is_scored_whole(begun_copy, capsys):
    batches = ["--data.batches.eval_size", "1", "--trainer.overfit_batches", "1"]
    assert main(["fit", "--config", "recipe.yaml", "--name", "over", *batches]) == 0
    assert predicted("valid") == 1
    assert main(["validate", "runs/over/1"]) == 0
    assert predicted("valid") == 2
    assert main(["test", "runs/over/1"]) == 0
    assert predicted("test") == 3
    capsys.readouterr()
    for option in ("fast_dev_run=true", "overfit_batches=1"):
        for command in ("validate", "test"):
            assert main([command, "runs/over/1", f"--trainer.{option}"]) == 2
            assert f"trainer.{option.partition('=')[0]} is for a fit" in capsys.readouterr().err
    assert (predicted("valid"), predicted("test")) == (2, 3)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["fit", "runs/recipe/1", "--trainer.max_epochs", "2", "--name", "other"], "name"),
        (["fit", "--ckpt_path", "last", "--name=other"], "name"),
        (["test", "--name=other"], "name"),
        (["validate", "runs/recipe/1", "--runs", "elsewhere"], "runs"),
        (["test", "--ckpt_path", "runs/recipe/1/checkpoints/best.ckpt", "--runs=elsewhere"], "runs"),
    ],
)
def test_a_run_that_there_is_gets_no_other_name(begun_copy, capsys, words, option):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"--{option} has no effect here: the run is " in said
    assert "recipe/1; leave it out" in said


def test_the_scores_of_another_checkpoint_may_get_a_name(begun_copy):
    words = ["--ckpt_path", "runs/recipe/1/checkpoints/last.ckpt", "--name=other", "--runs=elsewhere"]
    assert main(["test", *words]) == 0
    assert Path("elsewhere/other/1/metrics.json").is_file()
    assert main(["test", "--runs", "runs"]) == 0


def metrics(run="runs/recipe/1"):
    return json.loads(Path(run, "metrics.json").read_text())


def test_a_test_of_an_earlier_epoch_is_not_that_of_a_better_one(begun_copy, capsys, monkeypatch):
    assert main(["test"]) == 0
    tested, lines = metrics(), Path("runs/last/predictions.test.jsonl").read_bytes()
    monkeypatch.setattr(BestCheckpoint, "improves", lambda *_: True)
    capsys.readouterr()
    assert main(RESUME) == 0
    said = capsys.readouterr().out
    assert f"F1 {tested['test/f1']:.4f} on test.txt, kept in predictions.test.1.jsonl" in said
    assert not [name for name in metrics() if name.startswith("test/")]
    assert Path("runs/last/predictions.test.1.jsonl").read_bytes() == lines
    assert not Path("runs/last/predictions.test.jsonl").exists()
    (earlier,) = about()["earlier_tests"]
    assert earlier["scores"]["test/step"] == tested["test/step"] < metrics()["val/step"]
    assert earlier["data"]["fingerprint"]
    assert earlier["test_command"][-1] == "test"
    assert "test" not in about()["data"]
    assert "tested" not in about()
    assert main(["report"]) == 0
    assert "It was not tested yet" in Path("runs/last/report.md").read_text()
    assert main(["test"]) == 0
    assert metrics()["test/step"] == metrics()["val/step"]


def test_a_stale_test_of_an_older_run_is_left_out(begun_copy, caplog):
    assert main(["test"]) == 0
    Path("runs/last/metrics.json").write_text(json.dumps(metrics() | {"test/step": 1}))
    assert main(["report"]) == 0
    assert "a better epoch since it was tested: its test scores are left out" in caplog.text
    assert "It was not tested yet" in Path("runs/last/report.md").read_text()
    assert "test" not in last_run(Path("runs/recipe/1/checkpoints/best.ckpt"))


def test_a_test_on_other_data_keeps_the_one_before(begun_copy, capsys):
    assert main(["test"]) == 0
    own = metrics()
    Path("other.txt").write_text("Vera B-PER\nleft O\n")
    assert main(["test"]) == 0  # the same data again
    assert "earlier_tests" not in about()
    capsys.readouterr()
    assert main(["test", "--data.test", "other.txt"]) == 0
    assert f"F1 {own['test/f1']:.4f} on test.txt, kept in predictions.test.1" in capsys.readouterr().out
    assert about()["earlier_tests"][0]["scores"]["test/f1"] == own["test/f1"]
    assert about()["data"]["test"]["sentences"] == 1
    assert main(["report"]) == 0
    assert "on the 1 sentence of test (other.txt)" in Path("runs/last/report.md").read_text()
    assert main(["export", "--output", "out"]) == 0
    card = Path("out/README.md").read_text()
    assert "The scores on test are of other data than the recipe's" in card
    assert main(["test"]) == 0
    assert [each["data"]["sentences"] for each in about()["earlier_tests"]] == [3, 1]
    assert metrics()["test/f1"] == own["test/f1"]
