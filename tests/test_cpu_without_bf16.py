"""On a CPU without fast instructions for bf16 a recipe in bf16 runs in fp32, the faster one, and says so."""

import json
from pathlib import Path

import pytest
import taggers
import tiny
import torch
import yaml
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.data.pretrained import locate
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.tagger_group import TaggerGroup
from ner_lightning.model import devices
from ner_lightning.model.emitter import BackboneEmitter
from ner_lightning.prompting.generation import PromptedModel
from ner_lightning.runs import provenance

SAID = "This CPU has no fast products in bf16: the backbone runs in fp32"


@pytest.fixture
def recipe(tmp_path, llama, corpus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {
        "trainer": {"accelerator": "cpu", "precision": "bf16-mixed", "max_epochs": 1},
        "model": {"backbone": str(llama), "peft": "lora", "lora": {"rank": 2}},
        "data": {"dataset": str(corpus)},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return ["--config", "recipe.yaml"]


@pytest.fixture
def masks(monkeypatch):
    """The precisions in which backbones are run."""
    seen = set()
    hidden = BackboneEmitter.hidden

    def noted(self, batch):
        found = hidden(self, batch)
        seen.add(found.dtype)
        return found

    monkeypatch.setattr(BackboneEmitter, "hidden", noted)
    return seen


@pytest.mark.parametrize(
    ("has", "dtype"), [pytest.param(True, torch.bfloat16, marks=pytest.mark.slow), (False, torch.float32)]
)
def test_a_fit_and_what_follows_it(recipe, cpu, masks, capsys, has, dtype):
    cpu(has)
    assert main(["fit", *recipe]) == 0
    assert masks == {dtype}
    assert (SAID in capsys.readouterr().out) is not has
    assert json.loads(Path("runs/last/run.json").read_text())["backbone_in_bf16"] is has
    assert main(["report"]) == 0
    report = Path("runs/last/report.md").read_text()
    assert ("the backbone in fp32, since bf16 is slower there" in report) is not has
    masks.clear()
    assert main(["test"]) == 0
    assert main(["predict", "--text", "Vera left Lima"]) == 0
    assert masks == {dtype}


@pytest.mark.parametrize(("has", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_taggers_alone_and_in_a_group(llama, tmp_path, cpu, has, dtype):
    cpu(has)
    path = str(write_checkpoint(tmp_path, llama, "bf16-mixed", peft="lora", lora={"rank": 2}))
    alone, group = NERTagger.from_run(path), TaggerGroup({"a": path})
    for tagger in (alone, group["a"]):
        assert {p.dtype for p in tagger.tagger.emitter.backbone.parameters()} == {dtype}
    text = taggers.texts()[0]
    assert group([text], "a")[0].tags == alone(text).tags


@pytest.mark.slow
def test_the_memory_that_is_computed(recipe, cpu, capsys):
    words = ["memory", *recipe, "--json"]
    weights = {}
    for has in (True, False):
        cpu(has)
        assert main(words) == 0
        weights[has] = json.loads(capsys.readouterr().out)["prediction"]["weights"]
    assert weights[False] > 1.5 * weights[True]


def test_pretraining_and_prompting(recipe, cpu, capsys):
    cpu(False)
    tiny.write_language_model(Path("model"))
    words = [*recipe, "--model.backbone", "model"]
    assert main(["pretrain", *words]) == 0
    assert SAID in capsys.readouterr().out
    prompted = PromptedModel.load(locate("model"), bf16=True)
    assert {p.dtype for p in prompted.model.parameters()} == {torch.float32}


def test_what_counts_as_instructions(monkeypatch):
    found = devices.cpu_multiplies_bf16.__wrapped__
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(devices, "cpu_features", lambda: "AuthenticAMD")
    for has in (True, False):
        monkeypatch.setattr(devices.platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        assert found() is has
        monkeypatch.setattr(devices.platform, "machine", lambda: "aarch64")
        features = "Features : fp asimd" + " i8mm bf16" * has
        monkeypatch.setattr(devices, "cpu_features", lambda features=features: features)
        assert found() is has
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
        assert found() is False
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")


@pytest.mark.parametrize(
    ("maker", "flags", "most", "fast"),
    [
        ("GenuineIntel", "avx512_bf16 amx_bf16 amx_tile", "", True),
        ("GenuineIntel", "avx512_bf16 amx_bf16 amx_tile", "avx512_core_bf16", False),
        ("GenuineIntel", "avx512_bf16", "", False),
        ("AuthenticAMD", "avx512_bf16", "", True),
        ("AuthenticAMD", "avx512_bf16", "avx512_core_bf16", True),
    ],
)
def test_intel_multiplies_bf16_fast_with_amx_alone(monkeypatch, maker, flags, most, fast):
    said = f"vendor_id : {maker}\nmodel name : CPU 1\nflags : fpu {flags}\n"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    monkeypatch.setattr(devices.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    for module in (devices, provenance):
        monkeypatch.setattr(module, "cpu_features", lambda: said)
    assert devices.cpu_multiplies_bf16.__wrapped__() is fast
    assert ("without AMX" in provenance.machine()) is (maker == "GenuineIntel" and "amx" not in flags)


@pytest.mark.parametrize("emulated", [True, False])
def test_a_gpu_that_only_emulates_bf16_runs_in_fp32_too(cpu, monkeypatch, emulated):
    def supported(including_emulation=True):
        return including_emulation or not emulated

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    cpu(False)
    assert devices.runs_in_bf16(True, "cuda") is not emulated
    assert devices.runs_in_bf16(True, "mps")
    assert not devices.runs_in_bf16(True, "cpu")
    assert not devices.runs_in_bf16(False, "cuda")
