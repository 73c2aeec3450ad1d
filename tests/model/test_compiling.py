"""Layers are compiled where PyTorch finds what that takes; elsewhere they run as they are, with a line."""

import sysconfig
from pathlib import Path

import pytest
import tiny
from taggers import settings_of

from ner_lightning.data.pretrained import locate
from ner_lightning.data.schemes import LabelSet
from ner_lightning.model.backbone import Backbone
from ner_lightning.model.build import Target, build_tagger
from ner_lightning.model.devices import compiles
from ner_lightning.model.masked_lm import MaskedWords
from ner_lightning.system.progress import printed

COMPILED = Target(compiled=True, identified=False)


@pytest.fixture
def compiled(monkeypatch):
    """How often layers were compiled, which takes too long."""
    times = []
    monkeypatch.setattr(Backbone, "compile_layers", lambda self, below=0: times.append(below))
    return times


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Where a compiler and Python's header are found."""
    (tmp_path / "Python.h").touch()
    for name in ("g++", "clang++", "clang"):
        (tmp_path / name).touch(mode=0o755)
    for name in ("CXX", "CC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    return tmp_path


def build(llama):
    build_tagger(settings_of(llama), LabelSet(("PER",)), COMPILED)


def load(folder):
    settings = settings_of(folder, freeze_backbone=False)
    MaskedWords.load(locate(str(folder), None), settings, COMPILED, mask_ratio=0.2)


def said(capsys, make, backbone):
    with printed("stdout"):
        make(backbone)
    return capsys.readouterr().out


@pytest.mark.parametrize("make", [build, load])
def test_without_a_compiler_a_model_runs_uncompiled(compiler, compiled, capsys, monkeypatch, tmp_path, make):
    backbone = tiny.write_language_model(tmp_path / "model")
    assert "compiled on first use" in said(capsys, make, backbone)
    monkeypatch.setenv("PATH", "")
    assert "run uncompiled, which is slower: there is no C++ compiler" in said(capsys, make, backbone)
    assert compiled == [0]


def test_what_is_lacking_is_named(compiler, capsys, monkeypatch):
    assert compiles("cpu")
    monkeypatch.setenv("CXX", "nowhere-c++")
    with printed("stdout"):
        assert not compiles("cpu")
        assert compiles("cuda")  # by clang, without gcc
        monkeypatch.setenv("CC", "nowhere-cc")
        assert not compiles("cuda")
        monkeypatch.delenv("CXX")
        Path(compiler, "Python.h").unlink()
        assert not compiles("cpu")
    lines = capsys.readouterr().out
    assert "there is no C++ compiler nowhere-c++; install it, or name another in CXX" in lines
    assert "there is no C compiler nowhere-cc; install it, or name another in CC" in lines
    assert f"there is no {compiler / 'Python.h'}; install Python's headers" in lines
