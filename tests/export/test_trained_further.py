"""The layers of an exported tagger are a backbone, from which a tagger of other types is trained."""

from pathlib import Path

import pytest
import tiny
import torch
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.inference.ner_tagger import NERTagger

FIT = ("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--data.batches.size", "8")


@pytest.fixture
def checkpoint(tmp_path, llama, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_checkpoint(tmp_path, llama, peft="lora", lora={"rank": 2})


def corpus_of_places(folder):
    for file in tiny.write_corpus(folder).iterdir():
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("-LOC", "-PLACE").replace("-ORG", "-PLACE"), encoding="utf-8")
    return folder


def test_a_tagger_of_other_types_is_trained_from_the_layers_of_one(checkpoint, capsys):
    assert main(["export", str(checkpoint), "--output", "first"]) == 0
    data = corpus_of_places(Path("places"))
    capsys.readouterr()
    assert main(["fit", "--model.backbone", "first", "--data.dataset", str(data), *FIT]) == 0
    said = capsys.readouterr().out
    assert said.count("The tagger first is trained further, with a new head.\n") == 1
    run = next(Path("runs").glob("*/1"))
    assert sorted(NERTagger.from_run(str(run)).labels.types) == ["MISC", "PER", "PLACE"]


@pytest.mark.parametrize("which", ["a checkpoint", "adapters"])
def test_what_has_no_whole_model_is_refused_with_the_way_on(checkpoint, capsys, which):
    path = str(checkpoint)
    if which == "adapters":
        assert main(["export", path, "--output", "adapters", "--format", "adapter"]) == 0
        path = "adapters"
    capsys.readouterr()
    assert main(["fit", "--model.backbone", path, *FIT]) == 2
    said = capsys.readouterr().err
    assert (
        f"To train a tagger's layers further, name the folder of: ner-lightning export {path} --output DIR"
        in said
    )


def test_loading_draws_none_of_the_callers_random_numbers(checkpoint):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    NERTagger.from_run(str(checkpoint))
    assert torch.equal(torch.rand(3), expected)
