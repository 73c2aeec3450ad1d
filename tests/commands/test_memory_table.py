"""`ner-lightning memory`: its tables, its JSON, and what it says of mistakes."""

import json

import pytest
import tiny
import yaml

from ner_lightning.commands import memory_table
from ner_lightning.commands.lightning_cli.memory_recipe import row_length
from ner_lightning.commands.main import main
from ner_lightning.data.corpus_settings import Encoding


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A backbone's configuration, without weights and tokenizer, and a recipe with it."""
    folder = tmp_path_factory.mktemp("memory-table")
    tiny.llama_config(hidden_size=64, intermediate_size=128).save_pretrained(folder / "llama")
    config = tiny.recipe(folder / "llama", "there-is-no-such-data", size=4)
    config["data"]["encoding"] = {"max_length": 100}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


@pytest.fixture
def recipe(folder, monkeypatch):
    monkeypatch.chdir(folder)
    # A pass without values takes as long as one with.
    monkeypatch.setattr(memory_table, "LENGTHS", (64, 128))
    monkeypatch.setattr(memory_table, "ROWS", (1, 4))
    return ["memory", "--config", "recipe.yaml"]


def found(capsys, words):
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_tables_name_each_part(recipe, capsys, cpu):
    cpu(True)
    assert main([*recipe, "--trainer.precision", "bf16-mixed", "--model.quantization", "nf4"]) == 0
    text = capsys.readouterr().out
    caption = "Training LoRA adapters of llama, nf4, bf16, on cpu, 4 rows of 100 sub-tokens, GiB:"
    assert " ".join(text.split()).startswith(caption)
    lines = [line.split("  ")[0] for line in text.splitlines()]
    assert set(memory_table.NAMES.values()) | {"sum"} <= set(lines)
    assert "rows" in lines
    assert "Prediction, 32 rows of 100 sub-tokens: " in text
    for left_out in ("CUDA context (about 0.5 GiB)", "fragmentation", "workspaces"):
        assert left_out in text


@pytest.mark.slow
def test_what_is_packed_or_in_64_bits_is_said(recipe, capsys):
    words = [*recipe, "--device", "cpu", "--data.encoding.max_length", "64", "--data.batches.packing", "true"]
    assert main([*words, "--trainer.precision", "64-true"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "across), the rows packed into one, GiB" in out
    assert "64-true takes twice as much" in out
    computed = found(capsys, words)
    (cell,) = [c for c in computed["by_rows_and_lengths"] if (c["rows"], c["length"]) == (4, 64)]
    assert cell["total"] == computed["training"]["total"]


def test_passages_are_as_long_as_their_context(recipe, capsys):
    words = [*recipe, "--device", "cpu", "--data.encoding.context", "40", "--data.encoding.margin", "5"]
    assert main(words) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "4 rows of 50 sub-tokens, GiB" in text
    assert "Prediction, 32 rows of 50 sub-tokens" in text
    assert "A sentence longer than data.encoding.context" in text


@pytest.mark.parametrize(
    ("context", "margin", "repeats", "length"),
    [(None, 0, 1, 100), (40, 0, 0, 40), (40, 5, 0, 50), (40, 0, 1, 80), (60, 0, 1, 100)],
)
def test_the_length_of_a_row(context, margin, repeats, length):
    assert row_length(Encoding(context=context, margin=margin, repeats=repeats), window=100) == length


def test_json_has_bytes(recipe, capsys):
    usual = found(capsys, recipe)
    training = usual["training"]
    parts = [training[name] for name in memory_table.NAMES]
    assert training["total"] == sum(parts)
    assert usual["batch"] == {"rows": 4, "length": 100, "packed": False}
    grid = usual["by_rows_and_lengths"]
    assert [each["rows"] for each in grid] == list(memory_table.ROWS)
    assert {each["length"] for each in grid} == {64}  # 128 is more than max_length
    assert [each["total"] for each in grid] == sorted(each["total"] for each in grid)
    assert usual["prediction"]["total"] == usual["prediction"]["weights"] + usual["prediction"]["temporary"]
    assert usual["device"] == "cpu"


@pytest.mark.slow
def test_options_and_overlays_are_those_of_fit(recipe, capsys, folder):
    (folder / "more.yaml").write_text("model:\n  optimizer:\n    averaging: 0.1\n", encoding="utf-8")
    usual = found(capsys, recipe)
    more = ["--config", "more.yaml", "--data.batches.tokens", "250", "--device", "cuda"]
    changed = found(capsys, [*recipe, *more, "--model.lora.rank", "8"])
    assert usual["training"]["average"] == 0
    assert changed["training"]["average"] == changed["training"]["trained"] > usual["training"]["trained"]
    assert changed["batch"]["rows"] == 2
    assert changed["device"] == "cuda"
    whole = found(capsys, [*recipe, "--model.peft", "none", "--model.freeze_backbone", "false"])
    assert whole["training"]["trained"] > 10 * usual["training"]["trained"]
    assert main([*recipe, "--model.runtime.compile", "true", "--model.cache.enabled", "true"]) == 0
    text = capsys.readouterr().out
    assert "as without model.runtime.compile" in text
    assert "model.cache is left out" in text
    packed = found(capsys, [*recipe, "--data.batches.packing", "true"])
    assert packed["batch"]["packed"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a recipe, whose backbone and data are used: --config configs/quickstart.yaml"),
        (["--config", "recipe.yaml", "--model.backbone", "./none"], "there is no folder ./none"),
        (["--config", "recipe.yaml", "--model.backbone", "none.gguf"], "there is no file none.gguf"),
        (["--config", "recipe.yaml", "--model.lora.rnk", "3"], "there is no option model.lora.rnk"),
        (
            ["--config", "recipe.yaml", "--model.lora.top", "9"],
            "model.lora.top is 9; the backbone has 2 layers",
        ),
        (["--config", "recipe.yaml", "--data.encoding.max_length", "200000"], "has positions for 131072"),
        (
            ["--config", "recipe.yaml", "--model.quantization", "nf4", "--model.freeze_backbone", "false"],
            "leave the backbone frozen",
        ),
    ],
)
def test_mistakes_are_explained(recipe, capsys, words, message):
    assert main(["memory", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1, "< 0.001"), (2**30, "1.0"), (2**30 * 7 // 10, "0.70"), (2**30 * 38 + 5, "38")],
)
def test_gib_have_two_digits(count, text):
    assert memory_table.gib(count) == text
