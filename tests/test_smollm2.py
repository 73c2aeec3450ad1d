"""The real small LLM: recipes run, checkpoints stay small, what is loaded is what was trained."""

import io
import json
from pathlib import Path

import pytest
import torch
from shared import json_rows

from ner_lightning.commands.main import main
from ner_lightning.data.readers.sentences import read_sentences
from ner_lightning.model.devices import cpu_multiplies_bf16

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parent.parent


def test_smollm2_recipe_on_the_bundled_sample(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = str(ROOT / "configs/smollm2_conll2003.yaml")
    few = ["--data.dataset", "sample", "--data.limits.train", "96", "--data.limits.valid", "64"]
    assert main(["fit", "--config", recipe, *few, "--trainer.max_epochs", "1"]) == 0
    assert "4,889,772 of 139,404,780 parameters are trained" in capsys.readouterr().out
    assert main(["test"]) == 0
    run = tmp_path / "runs/last"
    metrics = json.loads((run / "metrics.json").read_text())
    assert 0 < metrics["test/loss"] < 3
    checkpoint = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    written = io.BytesIO()
    torch.save(checkpoint["state_dict"], written)
    assert written.tell() < 25e6
    assert {value.dtype for value in checkpoint["state_dict"].values()} == {torch.float32}
    held = json_rows(run / "predictions.test.jsonl")
    words = tmp_path / "words.txt"
    words.write_text("\n".join(" ".join(row["words"]) for row in held), encoding="utf-8")
    assert main(["predict", "--input", str(words), "--tokenized", "--output", "again.conll"]) == 0
    again = read_sentences("again.conll")
    assert [list(sentence.words) for sentence in again] == [row["words"] for row in held]
    one = [tag for sentence in again for tag in sentence.tags]
    other = [tag for row in held for tag in row["predicted"]]
    # Batches differ, bf16 rounds by batch, and after three steps many words are near a tie.
    assert sum(a == b for a, b in zip(one, other, strict=True)) > 0.95 * len(one)


def test_smollm2_learns_to_fill_in_words_and_becomes_a_tagger(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = ["--config", str(ROOT / "configs/smollm2_conll2003.yaml"), "--model.runtime.compile", "false"]
    few = ["--data.dataset", "sample", "--data.limits.train", "160", "--data.limits.valid", "64"]
    overlay = str(ROOT / "configs/with/pretrain.yaml")
    options = ["--config", overlay, "--trainer.max_epochs", "2"]
    assert main(["pretrain", *recipe, *options, *few, "--model.runtime.compile", "false"]) == 0
    said = capsys.readouterr().out
    assert "134,515,008 of 134,515,008 parameters are trained" in said
    losses = [float(rest.split()[0]) for rest in said.split("validation loss ")[1:]]
    assert losses[1] < losses[0] < 7.5  # untrained, with both sides to be read, it is above seven
    model = "runs/smollm2_conll2003-pretrained/1/model"
    each = 2 if cpu_multiplies_bf16() else 4  # bytes; the head is tied to the embeddings
    assert Path(model, "model.safetensors").stat().st_size < 1.01 * each * 134_515_008
    assert main(["fit", *recipe, *few, "--trainer.max_epochs", "1", "--model.backbone", model]) == 0
    assert main(["test"]) == 0
