"""Quantised backbones: what is quantised, what stays as it is, and what an export makes of them."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny
import torch
import transformers
import yaml
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.data.batching import collate
from ner_lightning.data.corpus_settings import Encoding
from ner_lightning.data.pretrained import Pretrained, locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.data.tokenization.encoding import Encoder, load_tokenizer
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.inference.tagger_group import TaggerGroup
from ner_lightning.model.adapters import Lora
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.model.outline import outline
from ner_lightning.model.quantization import is_quantized, quantized_loading, without_outliers
from ner_lightning.model.tagger_settings import Architecture, TaggerSettings

KINDS = {"nf4": "Linear4bit", "int8": "Linear8bitLt"}
LABELS = LabelSet(("PER", "LOC"))
TEXTS = ["Vera Holt left Lima.", "Nobody in Oslo answered."]


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """Blocks of 4-bit weights are 64 long."""
    folder = tmp_path_factory.mktemp("quantised") / "llama"
    return tiny.write_llama(folder, hidden_size=64, intermediate_size=128)


def settings(llama, quantization, **options):
    given = {"attention": "bidirectional", "freeze_backbone": True, "peft": "lora", "use_crf": True}
    return TaggerSettings(
        backbone=str(llama), quantization=quantization, lora=Lora(rank=4), **{**given, **options}
    )


def built(llama, quantization, **target):
    torch.manual_seed(0)
    tagger, _ = build_tagger(settings(llama, quantization), LABELS, Target(**target))
    return tagger.eval()


def batch_of(llama):
    encoder = Encoder(load_tokenizer(locate(str(llama))), Encoding())
    return collate(list(encoder.encode([text.split() for text in TEXTS])), encoder.pad_id)


def layers_of(tagger):
    """The class of each linear layer, by its last name."""
    found = {}
    for name, module in tagger.emitter.backbone.named_modules():
        if isinstance(module, torch.nn.Linear):
            found.setdefault(name.removesuffix(".base_layer").rpartition(".")[2], type(module).__name__)
    return found


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("quantization", list(KINDS))
def test_linear_layers_are_quantised_and_all_that_is_trained_is_fp32(llama, quantization, bf16):
    tagger = built(llama, quantization, bf16=bf16)
    kinds = layers_of(tagger)
    assert {kinds[name] for name in ("q_proj", "o_proj", "up_proj", "down_proj")} == {KINDS[quantization]}
    trained = {name: p for name, p in tagger.named_parameters() if p.requires_grad}
    assert all(".lora_" in name or "backbone" not in name for name in trained)
    assert {p.dtype for p in trained.values()} == {torch.float32}
    frozen = {p.dtype for p in tagger.emitter.backbone.parameters() if not p.requires_grad}
    packed = torch.uint8 if quantization == "nf4" else torch.int8
    assert frozen == {packed, torch.bfloat16 if bf16 else torch.float32}


@pytest.mark.parametrize("quantization", list(KINDS))
def test_weights_are_near_the_whole_ones(llama, quantization):
    whole = dict(built(llama, "none").named_parameters())
    compared = 0
    for name, weight in built(llama, quantization, dequantized=True).named_parameters():
        if name.endswith("proj.base_layer.weight"):
            compared += 1
            error = (weight - whole[name]).norm() / whole[name].norm()
            assert 0 < error < (0.11 if quantization == "nf4" else 0.01), name
    assert compared == 14  # seven in each of two layers


@pytest.mark.parametrize("quantization", list(KINDS))
def test_adapters_are_not_merged_into_quantised_weights(llama, quantization):
    tagger = built(llama, quantization)
    tagger.emitter.merge()
    assert is_quantized(tagger.emitter.backbone.model)
    assert any(".lora_" in name for name, _ in tagger.named_parameters())


@pytest.mark.parametrize("quantization", list(KINDS))
def test_dequantised_weights_are_those_that_are_multiplied_with(llama, quantization):
    batch = batch_of(llama)
    with torch.no_grad():
        expected = built(llama, quantization).emitter.hidden(batch)
        tagger = built(llama, quantization, dequantized=True)
        assert not is_quantized(tagger.emitter.backbone.model)
        assert set(layers_of(tagger).values()) == {"Linear"}
        found = tagger.emitter.hidden(batch)
    error = (found - expected).norm() / expected.norm()
    assert error < (1e-5 if quantization == "nf4" else 0.05)  # int8 rounds activations as well


@pytest.mark.parametrize("quantization", list(KINDS))
def test_gradients_are_those_of_the_dequantised_weights(llama, quantization):
    """After the model has run in evaluation mode, when bitsandbytes would pack 4-bit weights anew."""
    batch, gradients = batch_of(llama), {}
    for dequantized in (False, True):
        tagger = built(llama, quantization, dequantized=dequantized)
        for name, parameter in tagger.named_parameters():
            if ".lora_B" in name:
                torch.nn.init.constant_(parameter, 0.01)
        with torch.no_grad():
            tagger.emitter.hidden(batch)
        tagger.train()
        hidden = tagger.emitter.hidden(batch)
        (hidden * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        gradients[dequantized] = {n: p.grad for n, p in tagger.named_parameters() if ".lora_A" in n}
    assert len(gradients[False]) == 14
    found, expected = (torch.cat([g.flatten() for g in gradients[kind].values()]) for kind in (False, True))
    assert (found - expected).norm() / expected.norm() < (1e-4 if quantization == "nf4" else 0.2)


def test_int8_is_refused_where_its_products_overflow(llama, monkeypatch):
    exact = torch._int_mm
    overflows = lambda one, other: exact(one.clamp(-90, 90), other)  # noqa: E731
    monkeypatch.setattr(torch, "_int_mm", overflows)
    with pytest.raises(UserError, match="8-bit products overflow on this CPU, which lacks VNNI"):
        built(llama, "int8")
    built(llama, "nf4")
    built(llama, "int8", dequantized=True)


def test_int8_has_no_outliers_while_attention_is_checked(llama):
    tagger = built(llama, "int8")
    layers = [
        m.base_layer
        for m in tagger.modules()
        if type(m).__name__ == "Linear8bitLt" and hasattr(m, "base_layer")
    ]
    states = [layer.state for layer in layers]
    assert len(states) == 14
    assert {state.threshold for state in states} == {6.0}
    with without_outliers(tagger):
        assert {state.threshold for state in states} == {0.0}
    assert {state.threshold for state in states} == {6.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze_backbone": False}, "model.quantization nf4 and model.freeze_backbone false"),
        ({"architecture": Architecture(unfreeze_top=1)}, "and model.architecture.unfreeze_top above 0"),
    ],
)
def test_quantised_weights_are_not_trained(llama, options, message):
    with pytest.raises(UserError, match=message):
        settings(llama, "nf4", **options)


def test_what_cannot_be_quantised_is_said(monkeypatch):
    file = Pretrained("models", gguf_file="m.gguf")
    with pytest.raises(UserError, match=r"m.gguf is a GGUF file, whose weights are read as bf16"):
        quantized_loading("nf4", file, torch.float32, "cpu")
    assert quantized_loading("none", file, torch.float32, "cpu") == {}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'ner-lightning\[quant\]'"):
        quantized_loading("int8", Pretrained("models"), torch.float32, "cpu")


QUANTISED = {
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128},
    "awq": {"quant_method": "awq", "bits": 4},
    "fp8": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "compressed-tensors": {"quant_method": "compressed-tensors", "format": "pack-quantized"},
}


def with_configuration(llama, folder, change):
    """The same weights beside a changed configuration."""
    shutil.copytree(llama, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(change(config)))
    return folder


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("method", QUANTISED)
def test_a_backbone_that_is_already_quantised_is_refused(llama, tmp_path, method, nested):
    def change(config):
        quantised = config | {"quantization_config": QUANTISED[method]}
        return {"model_type": "llava", "text_config": quantised} if nested else quantised

    folder = with_configuration(llama, tmp_path / "m", change)
    for load in (
        built,
        lambda *args: outline(settings(*args), locate(str(folder)), bf16=False, device_type="cpu"),
    ):
        for quantization in ("none", "nf4"):
            with pytest.raises(
                UserError,
                match=rf"model.backbone: m is already quantised \({method}\).*\nName the model that",
            ):
                load(folder, quantization)


def test_an_unquantised_backbone_may_say_so(llama, tmp_path):
    folder = with_configuration(llama, tmp_path / "m", lambda config: config | {"quantization_config": None})
    assert not is_quantized(built(folder, "none").emitter.backbone.model)


@pytest.mark.parametrize("command", ["fit", "memory", "pretrain"])
def test_commands_refuse_a_quantised_backbone_before_they_load_it(
    llama, corpus, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.chdir(tmp_path)
    change = lambda config: config | {"quantization_config": QUANTISED["awq"]}  # noqa: E731
    config = tiny.recipe(with_configuration(llama, tmp_path / "m", change), corpus, size=4)
    Path("r.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main([command, "--config", "r.yaml"]) == 2
    said = capsys.readouterr().err
    assert "model.backbone: m is already quantised (awq)" in said
    assert "Loading" not in said
    assert not Path("runs").exists()


@pytest.fixture
def recipe(llama, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny.recipe(llama, corpus, size=4)
    config["model"] |= {"quantization": "nf4"}
    config["trainer"] |= {"max_epochs": 2}
    Path("r.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return "r.yaml"


def test_a_run_is_trained_tested_and_exported(recipe, caplog, capsys):
    assert main(["fit", "--config", recipe]) == 0
    assert main(["test"]) == 0
    run = Path("runs/r/1")
    score = json.loads((run / "metrics.json").read_text())["test/f1"]
    tagger = NERTagger.from_run(str(run))
    expected = [tagged.tags for tagged in tagger(TEXTS)]
    capsys.readouterr()
    assert main(["export", "--output", "merged"]) == 0
    said = capsys.readouterr()
    assert "Comparing with the nf4 weights" in said.out + said.err
    manifest = json.loads(Path("merged/ner_lightning.json").read_text())
    changed = manifest["about"]["dequantized"]
    assert changed["sentences"] == 2
    assert 0 <= changed["mean difference"] < 1e-3
    assert changed["f1 before"] == changed["f1 after"]
    assert manifest["settings"]["quantization"] == "none"
    assert "was quantised in training and is not any more" in Path("merged/README.md").read_text()
    merged = NERTagger.from_pretrained("merged")
    assert not is_quantized(merged.tagger.emitter.backbone.model)
    assert [tagged.tags for tagged in merged(TEXTS)] == expected
    assert main(["export", "--output", "adapter", "--format", "adapter"]) == 0
    adapted = NERTagger.from_pretrained("adapter")
    assert is_quantized(adapted.tagger.emitter.backbone.model)
    assert [tagged.tags for tagged in adapted(TEXTS)] == expected
    assert main(["test", "--run", "runs/r/1"]) == 0
    assert json.loads((run / "metrics.json").read_text())["test/f1"] == score


def test_a_checkpoint_keeps_its_quantisation(recipe, capsys):
    assert main(["fit", "--config", recipe, "--trainer.max_epochs", "1"]) == 0
    saved = torch.load("runs/r/1/checkpoints/last.ckpt", weights_only=True)
    assert not any("absmax" in name or "base_layer" in name for name in saved["state_dict"])
    capsys.readouterr()
    assert main(["test", "--run", "runs/r/1", "--model.quantization", "none"]) == 2
    assert "model.quantization is none, but the checkpoint was trained with nf4" in capsys.readouterr().err


def test_paged_states_need_a_gpu(recipe, capsys):
    assert main(["fit", "--config", recipe, "--model.optimizer.paged", "true"]) == 2
    assert "model.optimizer.paged moves states between a CUDA GPU and the host" in capsys.readouterr().err


def test_commands_without_quantised_weights_say_so(recipe, capsys):
    assert main(["pretrain", "--config", recipe]) == 2
    assert "model.quantization is nf4; pretraining writes a whole model" in capsys.readouterr().err
    main(["baseline", "--config", recipe, "--sentences", "1"])
    said = capsys.readouterr()
    assert "model.quantization nf4 is not used: the backbone is prompted unquantised" in said.out + said.err


class _LoadedError(Exception):
    """Ends the loading once it has begun."""


@pytest.mark.parametrize("load", [NERTagger.from_run, lambda run, device: TaggerGroup([run], device=device)])
def test_weights_are_read_onto_the_gpu_that_was_named(llama, tmp_path, monkeypatch, load):
    run = str(write_checkpoint(tmp_path, llama, quantization="nf4"))
    current = [torch.device("cuda:0")]

    @contextmanager
    def made_current(device):
        current.append(device)
        yield
        current.pop()

    def loads(*_, device_map, **__):
        raise _LoadedError(device_map[""])

    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 3,
        "init": lambda: None,
        "is_bf16_supported": lambda including_emulation: True,
        "current_device": lambda: current[-1].index,
        "device": made_current,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", loads)
    for device, number in {"cuda": 0, "cuda:2": 2}.items():
        with pytest.raises(_LoadedError) as loaded:
            load(run, device=device)
        assert loaded.value.args == (number,)
        del current[1:]
