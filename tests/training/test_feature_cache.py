"""A fit on cached features equals the fit without them, and nothing stale or incomplete is ever used."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from ner_lightning.commands.main import main
from ner_lightning.data import feature_store
from ner_lightning.data.feature_store import FeatureLayout, FeatureWriter
from ner_lightning.errors import UserError
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.training.callbacks.throughput import MEASURED

FROZEN = {"peft": "none"}
TOP = {"peft": "lora", "lora": {"rank": 4, "top": 1}}
WHOLE_TOP = {"peft": "none", "architecture": {"unfreeze_top": 1}}


def pooled(pooling):
    return FROZEN | {"architecture": {"pooling": pooling}}


@pytest.fixture
def fit(tmp_path, corpus, monkeypatch):
    """Fits in an empty folder; gives what it logged and trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(backbone, changes, *words, enabled):
        config = {
            "seed_everything": 3,
            "trainer": {"accelerator": "cpu", "max_epochs": 2, "log_every_n_steps": 1},
            "model": {"backbone": str(backbone), "optimizer": {"lr": 0.01}, "cache": {"enabled": enabled}}
            | changes,
            # Short windows, so that sentences have several.
            "data": {
                "dataset": str(corpus),
                "batches": {"size": 4},
                "encoding": {"max_length": 12, "overlap": 4},
            },
        }
        Path("recipe.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        assert main(["fit", "--config", "recipe.yaml", *words]) == 0
        run = Path("runs/last").resolve()
        weights = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        with (run / "metrics.csv").open(newline="") as stream:
            rows = [{k: v for k, v in row.items() if k not in MEASURED} for row in csv.DictReader(stream)]
        return rows, weights

    return run


def check_close(cached, plain):
    """The same but for rounding: on some CPUs a row's products depend on how many rows a batch has."""
    for one, other in zip(cached, plain, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert value == other[name] or float(value) == pytest.approx(float(other[name]), rel=1e-5), name


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(FROZEN, marks=pytest.mark.slow),
        TOP,
        pytest.param(WHOLE_TOP, marks=pytest.mark.slow),
        pytest.param(pooled("mean"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_cached_fit_is_the_uncached_one(fit, llama, changes, capsys):
    plain, weights = fit(llama, changes, enabled=False)
    filled, first = fit(llama, changes, enabled=True)
    assert "MB go to" in capsys.readouterr().out
    reused, second = fit(llama, changes, enabled=True)
    said = capsys.readouterr().out
    assert "MB from" in said
    assert "MB go to" not in said
    check_close(filled, plain)
    assert reused == filled
    for name, value in first.items():
        assert torch.equal(value, second[name])
        torch.testing.assert_close(value, weights[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [pytest.param(FROZEN, marks=pytest.mark.slow), TOP], ids=str)
def test_kept_layers_are_not_run_again(fit, llama, changes, monkeypatch):
    fit(llama, changes, enabled=True)
    runs, given = [], []
    hidden, layer = BackboneEmitter.hidden, LlamaDecoderLayer.forward

    def spy(self, *args, **kwargs):
        given.append(1)
        return hidden(self, *args, **kwargs)

    def spy_layer(self, *args, **kwargs):
        runs.append(self.self_attn.layer_idx)
        return layer(self, *args, **kwargs)

    monkeypatch.setattr(BackboneEmitter, "hidden", spy)
    monkeypatch.setattr(LlamaDecoderLayer, "forward", spy_layer)
    fit(llama, changes, enabled=True)
    batches = 2 * (8 + 1)  # two epochs of training and validation
    # At the start attention is proven with four passes, and the cut with a few.
    assert runs.count(0) < 12
    assert (runs.count(1) >= batches) == (changes == TOP)
    assert (len(given) > batches) == (changes == TOP)


@pytest.mark.slow
def test_encoders_can_be_cut_as_well(fit, bert, tmp_path):
    shutil.copytree(bert, tmp_path / "bert")
    file = tmp_path / "bert/config.json"
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # what is kept has none
    file.write_text(json.dumps(json.loads(file.read_text()) | still))
    plain, _ = fit(tmp_path / "bert", TOP, enabled=False)
    cached, _ = fit(tmp_path / "bert", TOP, enabled=True)
    check_close(cached, plain)


@pytest.mark.slow
def test_bf16_is_kept_as_bf16(fit, llama, cpu):
    cpu(True)
    plain, _ = fit(llama, TOP, "--trainer.precision", "bf16-mixed", enabled=False)
    cached, _ = fit(llama, TOP, "--trainer.precision", "bf16-mixed", enabled=True)
    check_close(cached, plain)
    about = [json.loads(f.read_text()) for f in Path("cache").rglob("about.json")]
    assert {a["dtype"] for a in about} == {"torch.bfloat16"}


@pytest.mark.slow
def test_whatever_changes_the_features_changes_the_key(fit, llama, bert, cpu):
    cpu(True)
    for changes, words in (
        (FROZEN, []),
        (FROZEN | {"attention": "causal"}, []),
        (pooled("first"), []),
        (FROZEN | {"runtime": {"attn_implementation": "eager"}}, []),
        (FROZEN, ["--trainer.precision", "bf16-mixed"]),
        (FROZEN, ["--data.encoding.max_length", "32"]),
        (FROZEN, ["--data.limits.train", "9"]),
        (TOP, []),
    ):
        before = len(list(Path("cache").rglob("about.json")))
        fit(llama, changes, *words, "--trainer.max_epochs", "1", enabled=True)
        new = len(list(Path("cache").rglob("about.json"))) - before
        assert new == (1 if "--data.limits.train" in words else 2)  # train and valid


@pytest.mark.parametrize(
    "damage",
    ["cut", *(pytest.param(each, marks=pytest.mark.slow) for each in ("flipped", "unsealed", "odd"))],
)
def test_damaged_features_are_computed_again(fit, llama, damage, capsys):
    plain, _ = fit(llama, FROZEN, enabled=True)
    for file in Path("cache").rglob("features.bin"):
        content = bytearray(file.read_bytes())
        if damage == "cut":
            file.write_bytes(content[:-4])
        elif damage == "flipped":
            content[100] ^= 1
            file.write_bytes(content)
        elif damage == "odd":
            (file.parent / "about.json").write_text("[]")
        else:
            (file.parent / "about.json").unlink()
    capsys.readouterr()
    again, _ = fit(llama, FROZEN, enabled=True)
    assert capsys.readouterr().out.count("MB go to") == 2
    assert again == plain


def test_an_incomplete_store_is_not_loaded(tmp_path):
    layout = FeatureLayout(np.array([0, 2, 5]), True, 3, torch.float32)
    part = feature_store.make_part(tmp_path, "key", layout, 1.0)
    writer = FeatureWriter(part, layout)
    writer.put(1, torch.ones(3, 3))
    assert feature_store.load(tmp_path, "key", layout) is None
    writer.put(0, torch.zeros(2, 3))
    writer.finish(tmp_path, "key", {})
    found = feature_store.load(tmp_path, "key", layout)
    assert found is not None
    assert found.values.tolist() == [[0.0] * 3] * 2 + [[1.0] * 3] * 3
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_parts_of_killed_processes_are_removed(tmp_path):
    layout = FeatureLayout(np.array([0, 1]), True, 1, torch.float32)
    left = feature_store.make_part(tmp_path, "old", layout, 1.0)
    dead = left.with_name(left.name.replace(f".{os.getpid()}.", ".999999999."))
    left.rename(dead)
    feature_store.make_part(tmp_path, "new", layout, 1.0)
    assert not dead.exists()


def test_the_size_limit_is_enforced(tmp_path):
    layout = FeatureLayout(np.array([0, 1000]), True, 1000, torch.float32)
    with pytest.raises(UserError, match=r"take 0\.00 GB; model\.cache\.limit_gb is 0\.001"):
        feature_store.make_part(tmp_path, "key", layout, 0.001)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"peft": "lora", "lora": {"rank": 2}},
        {"peft": "none", "freeze_backbone": False},
    ],
    ids=str,
)
def test_without_a_frozen_layer_there_is_nothing_to_keep(
    llama, corpus, tmp_path, monkeypatch, capsys, changes
):
    monkeypatch.chdir(tmp_path)
    config = {
        "trainer": {"accelerator": "cpu"},
        "model": {"backbone": str(llama), "cache": {"enabled": True}} | changes,
        "data": {"dataset": str(corpus)},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main(["fit", "--config", "recipe.yaml"]) == 2
    assert "model.cache" in capsys.readouterr().err
