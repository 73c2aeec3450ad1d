"""`serve --backbone DIR`: a tagger whose backbone's folder was moved after training."""

import shutil
from pathlib import Path

import pytest
import tiny
from starlette.testclient import TestClient
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.commands.serve import parser, service
from ner_lightning.export.exported_folder import export
from ner_lightning.inference.ner_tagger import NERTagger

TEXT = "Vera Holt left Lima. " * 20


@pytest.fixture
def moved(llama, tmp_path):
    """A checkpoint, what it found, and where its backbone is now."""
    before, now = tmp_path / "before", tmp_path / "now"
    shutil.copytree(llama, before)
    run = str(write_checkpoint(tmp_path, before))
    expected = NERTagger.from_run(run)(TEXT)
    before.rename(now)
    return run, expected, now


def test_it_answers_as_before(moved):
    run, expected, now = moved
    with TestClient(service(parser().parse_args([run, "--backbone", str(now)]))) as http:
        (found,) = http.post("/extract", json={"text": TEXT}).json()["results"]
    assert expected.entities
    assert [(e["start"], e["end"], e["label"]) for e in found["entities"]] == [
        (e.start, e.end, e.label) for e in expected.entities
    ]


def test_in_python_names_may_be_paths(moved, tmp_path):
    run, expected, now = moved
    tagger = NERTagger.from_run(Path(run), backbone=now)
    assert tagger(TEXT).entities == expected.entities
    folder = export(run, tmp_path / "out", backbone=str(now))
    assert list(NERTagger.group({"a": folder})) == ["a"]


def test_without_it_and_with_another_backbone_it_does_not_start(moved, tmp_path, capsys):
    run, _, _ = moved
    assert main(["serve", run, "--port", "0"]) == 2
    assert "--backbone DIR" in capsys.readouterr().err
    other = tiny.write_llama(tmp_path / "other", hidden_size=16)
    assert main(["serve", run, "--port", "0", "--backbone", str(other)]) == 2
    assert "other is not the same (sha256:" in capsys.readouterr().err
