"""Multimodal backbones: their text model alone is loaded, adapted, quantised and written."""

import json
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from peft import PeftModel
from taggers import LABELS, build, settings_of
from transformers import AutoModel
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.data.pretrained import locate
from ner_lightning.errors import UserError
from ner_lightning.export.exported_folder import export
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.model.adapters import Lora
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.model.outline import outline
from ner_lightning.model.weights import load_backbone

KINDS = {"gemma3": "Gemma3TextModel", "paligemma": "GemmaModel"}
IDS = torch.arange(8, 20).reshape(1, 12)
WORDS = ["Vera", "Holt", "left", "Lima"]


@pytest.fixture(scope="module")
def multimodal(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multimodal")
    return {kind: tiny.write_multimodal(folder / kind, kind) for kind in (*KINDS, "mllama")}


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_text_model_is_the_backbone(multimodal, kind, attention):
    tagger = build(multimodal[kind], attention=attention, lora=Lora(rank=2))
    backbone = tagger.emitter.backbone
    assert type(backbone.model.get_base_model()).__name__ == KINDS[kind]
    assert len(backbone.layers) == 2
    adapted = {name.partition(".lora_")[0] for name, p in backbone.named_parameters() if p.requires_grad}
    assert len(adapted) == 14  # seven in each layer


def test_it_computes_what_the_whole_model_computes_of_text(multimodal):
    where = locate(str(multimodal["gemma3"]))
    backbone = load_backbone(where, attention="causal", dtype=torch.float32)
    whole = AutoModel.from_pretrained(multimodal["gemma3"], dtype=torch.float32)
    with torch.no_grad():
        found = backbone.model.eval()(input_ids=IDS).last_hidden_state
        torch.testing.assert_close(found, whole.eval()(input_ids=IDS).last_hidden_state)


@pytest.mark.parametrize("kind", KINDS)
def test_the_top_and_the_bottom_are_those_of_the_text_model(multimodal, kind):
    top = build(multimodal[kind], lora=Lora(rank=2, top=1)).emitter.backbone
    adapted = [any("lora_" in name for name, _ in layer.named_parameters()) for layer in top.layers]
    assert adapted == [False, True]
    cut = build(multimodal[kind], layers=1, unfreeze_top=1).emitter.backbone
    assert len(cut.layers) == cut.text_config.num_hidden_layers == 1
    trained = {name for name, p in cut.model.named_parameters() if p.requires_grad}
    assert {name.partition(".")[0] for name in trained} == {"layers", "norm"}


@pytest.mark.parametrize(("quantization", "layer"), [("nf4", "Linear4bit"), ("int8", "Linear8bitLt")])
def test_its_text_model_is_quantised_and_dequantised(multimodal, quantization, layer):
    settings = settings_of(multimodal["gemma3"], lora=Lora(rank=2), quantization=quantization)
    tagger, _ = build_tagger(settings, LABELS)
    model = tagger.emitter.backbone.model
    assert {type(m.base_layer).__name__ for m in model.modules() if hasattr(m, "lora_A")} == {layer}
    tagger.emitter.merge()
    assert any("lora_" in name for name, _ in tagger.named_parameters())  # it cannot be merged
    plain, _ = build_tagger(settings, LABELS, Target(dequantized=True))
    plain.emitter.merge()
    assert {p.dtype for p in plain.parameters()} == {torch.float32}
    assert not hasattr(plain.emitter.backbone.config, "quantization_config")


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT's own
def test_what_is_exported_of_it_is_a_text_model(multimodal, tmp_path):
    backbone = multimodal["gemma3"]
    run = str(write_checkpoint(tmp_path, backbone, peft="lora", lora={"rank": 2}))
    tagger = NERTagger.from_run(run)
    expected = tagger(words=[WORDS])[0].tags
    for form in ("merged", "adapter"):
        folder = export(run, tmp_path / form, format=form)
        assert NERTagger.from_pretrained(folder)(words=[WORDS])[0].tags == expected
    assert json.loads((tmp_path / "merged/config.json").read_text())["model_type"] == "gemma3_text"
    card = (tmp_path / "adapter/README.md").read_text(encoding="utf-8")
    assert "PeftModel.from_pretrained(backbone.language_model, " in card
    whole = AutoModel.from_pretrained(backbone, dtype=torch.float32)
    alone = PeftModel.from_pretrained(whole.language_model, tmp_path / "adapter").eval()
    alone.config.is_causal = False
    adapted = build(backbone, lora=Lora(rank=2)).eval().emitter.backbone.model
    with torch.no_grad():
        hidden = alone(input_ids=IDS).last_hidden_state
        merged = tagger.tagger.emitter.backbone.model(input_ids=IDS).last_hidden_state
        torch.testing.assert_close(hidden, merged, rtol=1e-3, atol=1e-3)
        assert (hidden - adapted(input_ids=IDS).last_hidden_state).abs().max() > 0.1  # of untrained adapters


def test_a_text_model_that_cannot_be_loaded_alone_is_refused(multimodal, monkeypatch):
    monkeypatch.setattr(AutoModel, "from_pretrained", None)  # before its weights are read
    said = r"mllama is a MllamaModel, which reads more than text, .*\nname a model that reads text only"
    with pytest.raises(UserError, match=said):
        build(multimodal["mllama"])
    settings = settings_of(multimodal["mllama"])
    with pytest.raises(UserError, match=said):
        outline(settings, locate(str(multimodal["mllama"])), bf16=False, device_type="cpu")


def test_pretraining_wants_a_text_model(multimodal, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recipe = tiny.recipe(multimodal["gemma3"], corpus, size=4)
    Path("r.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert main(["pretrain", "--config", "r.yaml"]) == 2
    assert "gemma3 reads more than text, and pretraining writes a whole model" in capsys.readouterr().err
