import json
import re
from pathlib import Path

import pytest
import yaml
from wandb.proto import wandb_internal_pb2

from ner_lightning.commands.main import main

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:The number of training batches:UserWarning",
        "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
        "ignore:.*litlogger.*:UserWarning",
        "ignore:.*anonymous setting.*:UserWarning",
    )
]


def records(data):
    """The records of a .wandb file: LevelDB's log format after seven bytes of header."""
    place, parts, block = 7, b"", 1 << 15
    while place + 7 <= len(data):
        left = block - place % block
        if left < 7:
            place += left
            continue
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        kind = data[place + 6]  # 1 whole, 2 first, 3 middle, 4 last
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:
            yield parts
            parts = b""


class Offline:
    """A W&B run, read from the file that an offline run leaves."""

    def __init__(self, run):
        (self.folder,) = run.glob("wandb/offline-run-*")
        (file,) = self.folder.glob("run-*.wandb")
        self.history, self.config, self.metrics, self.artifacts, self.about = [], {}, {}, [], None
        for data in records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            self._take(record)

    def _take(self, record):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            self.history.append({self._key(i): json.loads(i.value_json) for i in record.history.item})
        elif kind in {"run", "config"}:
            held = record.run if kind == "run" else record
            self.config |= {self._key(i): json.loads(i.value_json) for i in held.config.update}
            self.about = record.run if kind == "run" else self.about
        elif kind == "metric":
            self.metrics[record.metric.name] = record.metric
        elif kind == "artifact":
            self.artifacts.append(record.artifact)

    @staticmethod
    def _key(item):
        return item.key or "/".join(item.nested_key)

    def last(self, name):
        return next(row[name] for row in reversed(self.history) if name in row)

    def media(self, name):
        return (self.folder / "files" / self.last(f"{name}/path")).read_bytes()

    def picture(self, name):
        """The caption of a picture that is really there."""
        assert self.media(name).startswith(b"\x89PNG")
        return self.last(f"{name}/caption")

    def table(self, name):
        return json.loads(self.media(name))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, llama, corpus):
    """Two seeds of a recipe, both with W&B offline; the first is also continued."""
    folder = tmp_path_factory.mktemp("dashboard")
    config = {
        "seed_everything": 3,
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 2,
            "log_every_n_steps": 1,
            "logger": {
                "class_path": "lightning.pytorch.loggers.WandbLogger",
                "init_args": {"project": "tests", "log_model": True},
            },
        },
        "model": {"backbone": str(llama), "optimizer": {"lr": 0.01, "head_lr": 0.03}, "loss": {"ls": 0.1}},
        "data": {"dataset": str(corpus), "batches": {"size": 5}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DATA_DIR", str(folder))
        for seed in ("3", "4"):
            assert main(["fit", "--config", "tiny.yaml", "--seed_everything", seed]) == 0
    return folder / "runs" / "tiny"


@pytest.fixture(scope="module")
def offline(runs):
    return Offline(runs / "1")


def test_metrics_are_logged_and_the_summary_is_the_highest_f1(offline):
    names = {name for row in offline.history for name in row}
    assert {f"train/{part}" for part in ("loss", "ce", "crf", "ls", "grad_norm")} <= names
    assert {f"val/{part}" for part in ("loss", "accuracy", "precision", "recall", "f1", "f1/PER")} <= names
    assert {"lr/backbone", "lr/head", "lr/crf"} <= names
    assert offline.last("train/words_per_second") > 0
    assert 0 < offline.last("train/padding") < 1
    assert offline.last("train/peak_memory_gib") > 0.05
    assert offline.metrics["val/f1"].summary.max


def test_the_config_says_what_was_trained_on_what(offline, runs):
    about = json.loads((runs / "1" / "run.json").read_text())
    run = offline.config["run"]
    assert run["trained_parameters"] == about["trained_parameters"]
    assert run["versions"]["torch"]
    assert run["data"]["train"]["fingerprint"] == about["data"]["train"]["fingerprint"]
    assert offline.config["config"]["model"]["loss"] == {
        "ce": 1.0,
        "crf": 1.0,
        "ls": 0.1,
        "missed": 1.0,
        "parts": None,
    }


def test_pictures_and_tables_show_the_errors(offline, runs):
    lines = (runs / "1" / "predictions.valid.jsonl").read_text().splitlines()
    gold = sum(tag[0] == "B" for line in lines for tag in json.loads(line)["gold"])
    confusion = offline.table("analysis/confusion")
    assert sum(n for gold, _, n in confusion["data"] if gold != "nothing") == gold
    assert "missed and spurious" in offline.picture("analysis/confusion_plot")
    assert "B-PER" in offline.picture("analysis/transitions_plot")
    assert offline.picture("analysis/calibration_plot")
    assert offline.table("analysis/calibration")["data"]
    errors = offline.table("analysis/errors")
    assert 0 < len(errors["data"]) <= 50
    chances = [row[1] for row in errors["data"]]
    assert chances == sorted(chances, reverse=True)
    pages = [e for a in offline.artifacts for e in a.manifest.contents if e.path.endswith(".html")]
    assert len(pages) >= len(errors["data"])
    page = Path(pages[-1].local_path).read_text(encoding="utf-8")
    assert re.search(r'<mark class="one">.*</mark>', page)


def test_the_best_checkpoint_is_an_artifact_because_that_was_asked_for(offline):
    (artifact,) = [a for a in offline.artifacts if a.type == "model"]
    assert [entry.path for entry in artifact.manifest.contents] == ["best.ckpt"]
    assert "best" in artifact.aliases


def test_seeds_of_a_recipe_stand_side_by_side(offline, runs):
    other = Offline(runs / "2")
    assert [o.about.run_group for o in (offline, other)] == ["tiny", "tiny"]
    assert [o.about.display_name for o in (offline, other)] == ["tiny/1 seed 3", "tiny/2 seed 4"]
    assert offline.about.run_id != other.about.run_id


def test_a_continued_run_is_the_same_wandb_run(runs, monkeypatch):
    monkeypatch.chdir(runs.parent.parent)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["fit", "--run", "runs/tiny/2", "--ckpt_path", "last", "--trainer.max_epochs", "3"]) == 0
    files = [file.name for file in Path(runs / "2").glob("wandb/offline-run-*/run-*.wandb")]
    assert len(files) == 2
    assert len(set(files)) == 1
