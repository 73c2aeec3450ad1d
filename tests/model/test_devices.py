"""A device that this machine lacks is refused before anything loads, whoever asks for it."""

import importlib
import json
import os
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from untrained import write_checkpoint

from ner_lightning.commands.lightning_cli import preflight
from ner_lightning.commands.main import main
from ner_lightning.errors import UserError
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.model import build
from ner_lightning.model.devices import chosen_device
from ner_lightning.runs.provenance import provenance


@pytest.fixture
def machine(monkeypatch):
    """Makes PyTorch say that it can use these devices."""

    def have(cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return have


LACKING = {
    "cuda": "--device cuda: ",
    "cuda:1": "--device cuda:1: ",
    "mps": "--device mps: PyTorch finds no Apple GPU here",
    "gpu": "--device gpu does not exist; there are cpu, cuda, mps and cuda:N",
    "meta": "--device meta does not exist",
    "": "--device",
}


@pytest.mark.parametrize("device", LACKING)
@pytest.mark.parametrize("command", ["predict", "predict text", "serve", "baseline", "python", "folder"])
def test_it_is_refused_in_a_line_before_anything_loads(
    machine, monkeypatch, capsys, tmp_path, command, device
):
    machine()
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("Vera left.\n")
    words = {
        "predict": ["predict", "nowhere", "--input", "in.txt", "--output", "out.jsonl"],
        "predict text": ["predict", "nowhere", "--text", "Vera left."],
        "serve": ["serve", "nowhere", "--port", "0"],
        "baseline": ["baseline", "--config", "configs/quickstart.yaml", "--shots", "0"],
    }
    if command in words:
        assert main([*words[command], f"--device={device}"]) == 2
        said = capsys.readouterr().err
    else:
        load = NERTagger.from_run if command == "python" else NERTagger.from_pretrained
        with pytest.raises(UserError) as caught:
            load("nowhere", device=device)
        said = str(caught.value)
    assert LACKING[device] in said
    assert len(said.strip().splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["in.txt"]


def test_what_is_there_is_taken(machine):
    machine()
    assert chosen_device(None) == chosen_device("cpu") == "cpu"
    machine(cuda=2)
    assert [chosen_device(asked) for asked in (None, "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(UserError, match="this machine has 2, the last is cuda:1"):
        chosen_device("cuda:2")
    machine(mps=True)
    assert chosen_device("mps") == "mps"


def test_a_graph_runs_on_the_cpu_alone(machine, llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path, llama)
    assert main(["export", "untrained.ckpt", "--output", "out"]) == 0
    manifest = Path("out/ner_lightning.json")
    manifest.write_text(manifest.read_text().replace('"form": "merged"', '"form": "onnx"'))
    machine(cuda=1)
    monkeypatch.setattr(build, "build_tagger", lambda *_: pytest.fail("something is loaded"))
    with pytest.raises(UserError, match="ONNX graph, which runs on the CPU"):
        NERTagger.from_run("out", device="cuda")


TRAINERS = [
    ({}, "gpu", 1, "trainer.accelerator is gpu: "),
    ({}, "cuda", "auto", "trainer.accelerator is cuda: "),
    ({}, "mps", 1, "trainer.accelerator is mps: PyTorch finds no Apple GPU here"),
    ({"mps": True}, "cuda", 1, "trainer.accelerator is cuda: "),
    ({"cuda": 2}, "gpu", 3, "trainer.devices is 3, but this machine has 2 GPUs"),
    ({"cuda": 2}, "auto", [0, 2], "trainer.devices is [0, 2], but this machine has 2 GPUs"),
    ({"cuda": 1}, "auto", "0,1", "trainer.devices is 0,1, but this machine has 1 GPU"),
    ({"mps": True}, "auto", 2, "trainer.devices is 2, but this machine has 1 GPU"),
    ({"cuda": 2}, "gpu", 2, None),
    ({"cuda": 2}, "auto", [0, 1], None),
    ({"cuda": 1}, "auto", "1,", "trainer.devices is 1,, but this machine has 1 GPU"),
    ({}, "cpu", [0, 1], "trainer.devices is [0, 1]; on a CPU it must be auto or a number of processes"),
    ({}, "cpu", "0,", "trainer.devices is 0,; on a CPU it must be auto or a number of processes"),
    ({"cuda": 1}, "auto", "0,", None),
    ({"cuda": 2}, "auto", -1, None),
    ({"cuda": 2}, "gpu", "auto", None),
    ({"mps": True}, "gpu", 1, None),
]


@pytest.mark.parametrize(("here", "accelerator", "devices", "said"), TRAINERS)
def test_of_a_trainer_too(machine, here, accelerator, devices, said):
    machine(**here)

    def check():
        preflight._accelerator(accelerator)
        preflight._devices(devices, accelerator)

    if said is None:
        check()
        return
    with pytest.raises(UserError) as caught:
        check()
    assert str(caught.value).startswith(said)


def test_a_fit_without_its_gpu_is_refused_in_a_line(machine, capsys, tmp_path, monkeypatch):
    machine()
    monkeypatch.chdir(tmp_path)
    for command in ("fit", "pretrain"):
        assert main([command, "--config", "configs/quickstart.yaml", "--trainer.accelerator", "gpu"]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture
def old_driver(machine, monkeypatch):
    """A GPU that NVML counts, which is how Lightning has PyTorch ask, and that CUDA cannot use."""

    def refuse(*_):
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12020). Please update")

    machine(cuda=1)
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    for name in ("init", "_lazy_init"):
        monkeypatch.setattr(torch.cuda, name, refuse)


@pytest.mark.usefixtures("old_driver")
def test_a_driver_that_is_too_old_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("Vera left.\n")
    fit = ["fit", "--config", "configs/quickstart.yaml"]
    for command, instead in (
        (fit, "--trainer.accelerator cpu"),
        ([*fit, "--trainer.accelerator", "gpu"], "--trainer.accelerator cpu"),
        (["predict", "nowhere", "--input", "in.txt", "--output", "o.jsonl", "--device=cuda"], "--device cpu"),
    ):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert "The NVIDIA driver on your system is too old (found version 12020).\n" in said
        assert said.endswith(f"use the CPU: {instead}\n")
        assert len(said.splitlines()) == 3
    with pytest.raises(UserError, match="too old"):
        chosen_device(None)


@pytest.mark.usefixtures("old_driver")
def test_without_the_gpu_its_driver_does_not_matter():
    preflight._accelerator("cpu")
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "0"  # Lightning reads random states otherwise
    preflight._precision("bf16-mixed", "cpu")
    assert "cores" in provenance()["machine"]
    assert chosen_device("cpu") == "cpu"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_a_fit_on_the_cpu_leaves_the_gpu_alone(machine, monkeypatch, tmp_path, llama, corpus):
    importlib.import_module("peft")  # imports bitsandbytes, which starts CUDA itself where there is some
    machine(cuda=1)
    for name in ("init", "_lazy_init", "get_device_name", "max_memory_allocated", "get_rng_state"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: pytest.fail(f"{name} starts CUDA"))
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(yaml.safe_dump(tiny.recipe(llama, corpus, 16)))
    assert main(["fit", "--config", "r.yaml", "--trainer.max_epochs", "1"]) == 0
    assert json.loads(Path("runs/r/1/run.json").read_text())["peak_memory_bytes"] > 2**20


@pytest.mark.parametrize("precision", ["64-true", "64", 64])
def test_an_apple_gpu_has_no_float64(machine, precision):
    machine(mps=True)
    preflight._precision(precision, "cpu")
    preflight._precision("32-true", "mps")
    for accelerator in ("auto", "gpu", "mps"):
        with pytest.raises(UserError, match=f"trainer.precision {precision}: an Apple GPU has no float64"):
            preflight._precision(precision, accelerator)
    machine()
    preflight._precision(precision, "auto")
