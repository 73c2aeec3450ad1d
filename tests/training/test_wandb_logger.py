"""The W&B logger's options, key and mode; nothing here uses a network."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from urllib.parse import urlsplit

import pytest
import wandb
from jsonargparse import Namespace

from ner_lightning.runs.earlier import set_aside_scores, set_test_aside
from ner_lightning.runs.folder import Run
from ner_lightning.training.loggers.wandb import NonBlockingWandbLogger, lacks_key, prepare_wandb

WANDB = "lightning.pytorch.loggers.WandbLogger"
FIELDS = {
    "id": None,
    "name": None,
    "group": None,
    "job_type": None,
    "notes": None,
    "tags": None,
    "settings": None,
}


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(os.environ, NETRC=str(tmp_path / "netrc")):
        for name in ("API_KEY", "BASE_URL", "NAME", "TAGS", "DATA_DIR", "CACHE_DIR", "ARTIFACT_DIR"):
            os.environ.pop(f"WANDB_{name}", None)
        yield
    wandb.teardown()


@pytest.mark.parametrize("server", [None, "http://127.0.0.1:9"], ids=["W&B's own", "one of the user's"])
def test_a_key_of_wandb_login_is_found(server, monkeypatch):
    if server:  # as `wandb login --host` writes it
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(Path.cwd()))
        Path("settings").write_text(f"[default]\nbase_url = {server}\n")
    host = urlsplit(server or wandb.Settings().base_url).netloc
    Path("netrc").write_text(f"machine {host}\n  login user\n  password {'a' * 40}\n")
    assert not lacks_key()
    wandb.teardown()
    Path("netrc").write_text(f"machine elsewhere.example\n  login user\n  password {'a' * 40}\n")
    assert lacks_key()


@pytest.mark.slow
def test_with_a_malformed_key_it_logs_offline(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    logger = NonBlockingWandbLogger(project="trial", save_dir=str(tmp_path))
    assert logger.experiment.settings.mode == "offline"
    wandb.finish()
    assert "W&B cannot be reached, so it logs offline" in capsys.readouterr().out


def prepared(tmp_path, class_path=WANDB, **given):
    """The options of a logger, as a run completes them."""
    logger = Namespace(class_path=class_path, init_args=Namespace(**FIELDS | given))
    model = SimpleNamespace(backbone="org/llm", peft="lora", use_crf=True)
    config = SimpleNamespace(seed_everything=3, model=model, data=SimpleNamespace(source=None, dataset="d"))
    run = Run(tmp_path / "runs/recipe/1")
    prepare_wandb(logger, run, config, ["ner-lightning", "fit"], [], text=True)
    return logger


def test_variables_of_the_user_count(monkeypatch, tmp_path):
    own = prepared(tmp_path).init_args
    assert (own.name, own.group, own.job_type) == ("recipe/1 seed 3", "recipe", "fit")
    assert own.tags == ["llm", "d", "lora", "crf"]
    monkeypatch.setenv("WANDB_NAME", "mine")
    monkeypatch.setenv("WANDB_TAGS", "one,two")
    monkeypatch.setenv("WANDB_CACHE_DIR", "elsewhere")
    given = prepared(tmp_path, group="others").init_args
    assert (given.name, given.group) == (None, "others")
    assert given.tags == ["one", "two", "llm", "d", "lora", "crf"]
    assert os.environ["WANDB_CACHE_DIR"] == "elsewhere"


def test_another_logger_of_that_name_is_left_alone(tmp_path, monkeypatch):
    Path("mylog.py").write_text("class WandbLogger: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    logger = prepared(tmp_path, "mylog.WandbLogger")
    assert logger.class_path == "mylog.WandbLogger"
    assert logger.init_args.name is None
    del sys.modules["mylog"]


def test_scores_of_an_earlier_checkpoint_leave_the_summary(tmp_path, monkeypatch):
    class Summary(dict):
        def __delitem__(self, name):  # W&B's takes unknown names, too
            self.pop(name, None)

    summary = Summary({"test/f1": 0.5, "best/f1": 0.6})
    logger = NonBlockingWandbLogger(save_dir=str(tmp_path))
    monkeypatch.setattr(type(logger), "experiment", SimpleNamespace(summary=summary))
    run = Run(tmp_path)
    assert set_aside_scores(run) == []
    run.write("metrics.json", {"test/f1": 0.5, "val/f1": 0.6})
    assert set_test_aside(run) == "F1 0.5000 on test, kept in predictions.test.1.jsonl"
    logger.withdraw([*set_aside_scores(run), "test/errors"])
    logger._queue.put(None)
    logger._worker.join(10)
    assert summary == {"best/f1": 0.6}
