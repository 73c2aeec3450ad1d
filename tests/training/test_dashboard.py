import json
import re
from pathlib import Path

import pytest
import yaml
from shared import json_rows
from wandb.proto import wandb_internal_pb2

from ner_lightning.commands.main import main
from ner_lightning.training.loggers.logged_text import may_log_text
from ner_lightning.training.loggers.wandb_workspace import CURVES

pytestmark = [pytest.mark.filterwarnings("ignore:.*anonymous setting.*:UserWarning")]


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

    def __init__(self, run, which=0):
        self.folder = sorted(run.glob("wandb/offline-run-*"), key=lambda f: f.stat().st_mtime_ns)[which]
        (file,) = self.folder.glob("run-*.wandb")
        self.history, self.config, self.metrics, self.artifacts, self.about = [], {}, {}, [], None
        self.summary = {}
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
        elif kind == "summary":
            self.summary |= {self._key(i): json.loads(i.value_json) for i in record.summary.update}
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

    def table(self, name):
        return json.loads(self.media(name))

    def summary_table(self, name):
        return json.loads((self.folder / "files" / self.summary[name]["path"]).read_text(encoding="utf-8"))

    def column(self, table, name):
        return [row[table["columns"].index(name)] for row in table["data"]]

    def chart(self, name):
        return self.config[f"_wandb/visualize/{name}"]["panel_config"]


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
        patch.setenv("HOME", str(folder / "home"))
        (folder / "more.yaml").write_text("model: {peft: none}\n", encoding="utf-8")
        assert main(["fit", "--config", "tiny.yaml"]) == 0
        more = ["--config", "more.yaml", "--log_text", "always", "--seed_everything", "4"]
        more.append("--trainer.logger.init_args.log_model=false")
        assert main(["fit", "--config", "tiny.yaml", *more]) == 0
        assert main(["test", "--run", "runs/tiny/1"]) == 0
    return folder / "runs" / "tiny"


@pytest.fixture(scope="module")
def offline(runs):
    return Offline(runs / "1")


@pytest.fixture(scope="module")
def other(runs):
    return Offline(runs / "2")


@pytest.fixture(scope="module")
def after_test(runs):
    return Offline(runs / "1", 1)


def test_metrics_are_logged(offline):
    names = {name for row in offline.history for name in row}
    assert {f"train/{part}" for part in ("loss", "ce", "crf", "ls", "grad_norm")} <= names
    assert {f"val/{part}" for part in ("loss", "accuracy", "precision", "recall", "f1")} <= names
    assert {f"val/{score}/PER" for score in ("precision", "recall", "f1")} <= names
    assert {"lr/backbone", "lr/head", "lr/crf"} <= names
    assert offline.last("train/subtokens_per_second") > offline.last("train/words_per_second") > 0
    assert 0 < offline.last("train/padding") < 1
    assert offline.last("train/peak_memory_gib") > 0.05


def test_every_curve_of_the_workspace_is_logged(offline):
    names = {name for row in offline.history for name in row}
    metrics = [metric for curves in CURVES.values() for group in curves.values() for metric in group]
    assert metrics
    for metric in metrics:
        assert metric in names or (metric[-1] == "/" and any(name.startswith(metric) for name in names))


def test_the_summary_is_that_of_the_best_epoch(offline, runs):
    best = json.loads((runs / "1" / "metrics.json").read_text())
    for name in ("f1", "precision", "recall", "epoch"):
        assert offline.summary[f"best/{name}"] == best[f"val/{name}"]
    assert offline.summary["val/f1"] == best["val/f1"]
    for name in ("val/f1", "val/loss", "val/recall/PER"):
        assert offline.metrics[name].summary.none  # so that no later validation replaces it
        assert offline.metrics[name].step_metric == "trainer/global_step"


def test_a_test_adds_to_the_summary_of_the_same_run_and_to_no_curve(offline, after_test, runs):
    assert after_test.about.run_id == offline.about.run_id
    assert after_test.history == []
    scores = json.loads((runs / "1" / "metrics.json").read_text())
    for name in ("test/f1", "test/precision", "test/recall/LOC", "test/loss"):
        assert after_test.summary[name] == pytest.approx(scores[name], abs=1e-6)
    table = after_test.summary_table("test/by_type")
    rows = dict(zip(after_test.column(table, "type"), after_test.column(table, "support"), strict=True))
    assert rows == {name: row["gold"] for name, row in scores["test/by_type"].items()}
    assert after_test.summary_table("test/errors")["columns"][0] == "sentence"
    assert not list(after_test.about.tags)  # those that were added on W&B's pages stay


def test_the_config_is_there_once_under_the_names_of_options(offline, runs):
    about = json.loads((runs / "1" / "run.json").read_text())
    run = offline.config["run"]
    assert run["trained_parameters"] == about["trained_parameters"]
    assert run["versions"]["torch"]
    assert run["data"]["train"]["fingerprint"] == about["data"]["train"]["fingerprint"]
    assert offline.config["model"]["optimizer"]["lr"] == 0.01
    assert offline.config["data"]["batches"]["size"] == 5
    assert offline.config["seed_everything"] == 3
    known = yaml.safe_load((runs / "1" / "config.yaml").read_text())
    assert {name.split("/")[0] for name in offline.config} == {*known, "run", "_wandb"}


def test_tags_notes_and_job_type_tell_runs_apart(offline, other):
    assert list(offline.about.tags) == ["llama", "corpus0", "lora", "crf"]
    assert list(other.about.tags) == ["llama", "corpus0", "more", "no adapters", "crf"]
    assert {o.about.job_type for o in (offline, other)} == {"fit"}
    assert offline.about.notes == "ner-lightning fit --config tiny.yaml"


def test_charts_and_tables_show_the_errors(offline, other, runs):
    lines = (runs / "1" / "predictions.valid.jsonl").read_text().splitlines()
    gold = sum(tag[0] == "B" for line in lines for tag in json.loads(line)["gold"])
    confusion = offline.table("analysis/confusion_table")
    assert sum(n for gold, _, n in confusion["data"] if gold != "nothing") == gold
    fields = offline.chart("analysis/confusion")["fieldSettings"]
    assert set(fields.values()) == set(confusion["columns"])
    assert offline.chart("analysis/calibration")["fieldSettings"]["y"] == "share correct"
    assert offline.table("analysis/calibration_table")["data"]
    assert offline.chart("analysis/by_type")["panelDefId"] == "wandb/bar/v0"
    assert sum(offline.column(offline.table("analysis/by_type_table"), "support")) == gold
    assert offline.media("analysis/transitions").startswith(b"\x89PNG")
    assert "B-PER" in offline.last("analysis/transitions/caption")
    errors = other.table("analysis/errors")
    assert 0 < len(errors["data"]) <= 50
    probabilities = other.column(errors, "probability")
    assert probabilities == sorted(probabilities, reverse=True)
    pages = [e for a in other.artifacts for e in a.manifest.contents if e.path.endswith(".html")]
    assert len(pages) >= len(errors["data"])
    page = Path(pages[-1].local_path).read_text(encoding="utf-8")
    assert re.search(r'<mark class="one">.*</mark>', page)


def test_sentences_have_the_same_names_in_every_run(offline, other, runs):
    mine, others = (o.column(o.table("analysis/predictions"), "sentence") for o in (offline, other))
    about = json.loads((runs / "1" / "run.json").read_text())
    assert mine == others
    assert mine[0] == f"valid-{about['data']['valid']['fingerprint'][7:15]}-0"
    assert set(offline.column(offline.table("analysis/errors"), "sentence")) <= set(mine)


def test_text_of_the_data_is_logged_only_if_asked_for(runs):
    lines = json_rows(runs / "1/predictions.valid.jsonl")
    texts = [" ".join(line["words"]).encode() for line in lines]
    entities = [
        " ".join(line["words"][e["start"] : e["end"]]).encode() for line in lines for e in line["entities"]
    ]
    logged = [
        b"".join(file.read_bytes() for file in (runs / number / "wandb").rglob("*") if file.is_file())
        for number in ("1", "2")
    ]
    assert entities
    assert not [text for text in [*texts, *entities] if text in logged[0]]
    assert all(text in logged[1] for text in texts)


@pytest.mark.parametrize(
    ("choice", "data", "may"),
    [
        ("bundled", {"dataset": "sample"}, True),
        ("never", {"dataset": "sample"}, False),
        ("bundled", {"dataset": "org/private"}, False),
        ("bundled", {"dataset": "sample", "test": "own.conll"}, False),
        ("always", {"dataset": "org/public"}, True),
    ],
)
def test_only_the_bundled_sample_is_public_unless_told_otherwise(choice, data, may):
    given = dict.fromkeys(("source", "train", "valid", "test")) | data
    assert may_log_text(choice, given) == may


def test_data_and_model_are_artifacts_by_reference(offline, other, runs, corpus):
    for run in (offline, other):
        (data,) = [a for a in run.artifacts if a.type == "dataset"]
        assert data.use_after_commit  # an input of the run
        refs = {entry.path: entry.ref for entry in data.manifest.contents}
        assert refs == {name: (corpus / f"{name}.txt").resolve().as_uri() for name in ("train", "valid")}
    (model,) = [a for a in other.artifacts if a.type == "model"]
    (entry,) = model.manifest.contents
    assert entry.ref == (runs / "2/checkpoints/best.ckpt").resolve().as_uri()
    assert not model.use_after_commit  # an output
    assert json.loads(model.metadata)["val/f1"] == other.summary["best/f1"]


def test_nothing_of_wandb_is_outside_of_the_run_folder(runs):
    home = runs.parent.parent / "home"
    assert not [file for file in home.rglob("*") if "wandb" in file.name]
    assert not (runs.parent.parent / "wandb").exists()


def test_the_best_checkpoint_is_uploaded_because_that_was_asked_for(offline):
    (artifact,) = [a for a in offline.artifacts if a.type == "model"]
    assert [entry.path for entry in artifact.manifest.contents] == ["best.ckpt"]
    assert "best" in artifact.aliases


def test_seeds_of_a_recipe_stand_side_by_side(offline, other):
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
