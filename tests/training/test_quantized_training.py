"""Trains adapters on 4-bit weights: stopped and resumed, on two ranks, with a cache, as an ensemble."""

import json
import os
import signal
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from shared import job, same

from ner_lightning.commands.main import main
from ner_lightning.training.module import NERModule

pytestmark = pytest.mark.slow


@pytest.fixture
def recipe(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    llama = tiny.write_llama(tmp_path / "llama", hidden_size=64, intermediate_size=128)
    config = tiny.recipe(llama, corpus, size=4)
    config["trainer"] |= {"max_epochs": 2}
    config["model"] |= {"quantization": "nf4", "runtime": {"gradient_checkpointing": True}}
    Path("r.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return "r.yaml"


def weights(name):
    return torch.load(f"runs/{name}/1/checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_a_stop_and_resume_ends_the_same(recipe, monkeypatch):
    assert main(["fit", "--config", recipe, "--name", "whole"]) == 0
    step, done = NERModule.validation_step, []

    def stopped(self, batch):
        done.append(batch)
        if len(done) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(NERModule, "validation_step", stopped)
        assert main(["fit", "--config", recipe, "--name", "parts"]) == 143
    assert main(["fit", "--ckpt_path", "last"]) == 0
    whole, parts = weights("whole"), weights("parts")
    assert same(whole, parts)


def test_two_ranks_follow_one(tmp_path):
    found = job("quantized", tmp_path / "work")
    assert found["steps"] == [16, 16]
    assert found["weights"] < 1e-3
    assert found["predictions"][0] == found["predictions"][1]


def test_a_cache_and_an_ensemble(recipe):
    top = ["--model.lora.top", "1", "--model.cache.enabled", "true", "--model.cache.folder", "cache"]
    assert main(["fit", "--config", recipe, "--name", "cached", *top]) == 0
    keys = [json.loads(file.read_text()) for file in Path("cache").rglob("*.json")]
    assert any("nf4" in json.dumps(key) for key in keys)
    assert main(["fit", "--config", recipe, "--name", "other", "--seed_everything", "5"]) == 0
    assert main(["ensemble", "runs/cached/1", "runs/other/1", "--name", "both"]) == 0
    assert main(["test", "--run", "runs/both/1"]) == 0
    assert "test/f1" in json.loads(Path("runs/both/1/metrics.json").read_text())
