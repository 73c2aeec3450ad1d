"""Each shipped recipe of another family trains a small random model of its family."""

import json
from pathlib import Path

import pytest
import tiny
import torch
import transformers
from families import CONFIGS

from ner_lightning.commands.main import main

ROOT = Path(__file__).parents[2]
FAMILIES = {
    "gemma3_270m": "gemma3",
    "llama_crf": "llama",
    "modernbert": "modernbert",
    "own_data": "llama",
    "qwen3_0.6b": "qwen3",
    "qwen3_1.7b": "qwen3",
    "xlm_roberta": "xlm-roberta",
}
pytestmark = pytest.mark.slow


def test_every_recipe_is_trained_somewhere():
    real = {"quickstart", "smollm2_conll2003"}  # with their own weights, in tests/test_smollm2.py
    quantised = {"llama31_8b_qlora"}  # in tests/model/test_quantization.py
    assert {file.stem for file in (ROOT / "configs").glob("*.yaml")} == real | quantised | FAMILIES.keys()


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_recipe_trains_a_model_of_its_family(name, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    torch.manual_seed(0)
    transformers.AutoModel.from_config(CONFIGS[FAMILIES[name]]()).save_pretrained("backbone")
    tiny.llama3_tokenizer().save_pretrained("backbone")
    words = ["fit", "--config", str(ROOT / "configs" / f"{name}.yaml"), "--model.backbone", "backbone"]
    words += ["--data.dataset", str(corpus), "--data.files.config", "null", "--trainer.max_epochs", "2"]
    assert main([*words, "--trainer.accelerator", "cpu", "--trainer.devices", "1"]) == 0
    metrics = json.loads(Path("runs/last/metrics.json").read_text(encoding="utf-8"))
    assert metrics["val/loss"] > 0
    assert main(["test"]) == 0
