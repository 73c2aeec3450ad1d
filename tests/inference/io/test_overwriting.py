"""No command destroys a file that it did not write, without a word."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.errors import UserError
from ner_lightning.inference.io.resumable import DirectOutput, ResumableOutput, Totals
from ner_lightning.runs.folder import create

REJECT = {"file": "a", "line": 1, "reason": "r", "text": "t"}


@pytest.fixture
def predict(tmp_path, llama, monkeypatch, capsys):
    """Runs `predict` in a folder with a checkpoint and a text; returns what it said."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path, llama)
    Path("in.txt").write_text("Vera left.\n")

    def run(*words, code=0):
        capsys.readouterr()
        assert main(["predict", "untrained.ckpt", "--device", "cpu", *words]) == code
        return capsys.readouterr().err

    return run


OUTPUTS = [["--output", "out.jsonl"], ["--output", "-"], []]


@pytest.mark.parametrize("output", OUTPUTS, ids=["file", "standard output", "terminal"])
@pytest.mark.parametrize("content", ["my notes\n", '{"file": 1}\n', "[1]\n", "\xff"])
def test_rejects_that_are_not_its_own_are_refused_and_stay(predict, output, content):
    Path("notes.jsonl").write_text(content, encoding="latin-1")
    said = predict("--input", "in.txt", "--rejects", "notes.jsonl", *output, code=2)
    assert "--rejects notes.jsonl exists and holds something else" in said
    assert Path("notes.jsonl").read_text(encoding="latin-1") == content
    assert sorted(file.name for file in Path().iterdir()) == ["in.txt", "notes.jsonl", "untrained.ckpt"]


@pytest.mark.parametrize("output", OUTPUTS, ids=["file", "standard output", "terminal"])
def test_rejects_of_an_earlier_command_stay_until_there_are_new_lines(predict, output):
    Path("noted.jsonl").write_text(json.dumps(REJECT) + "\n")
    words = ["--input", "in.txt", "--rejects", "noted.jsonl", *output]
    assert main(["predict", "nowhere", *words]) == 2
    assert Path("noted.jsonl").exists()
    predict(*words)
    assert not Path("noted.jsonl").exists()  # nothing was left out this time


@pytest.mark.parametrize("device", ["/dev/stderr", "/dev/null"])
def test_a_device_for_rejects_stays(predict, device):
    predict("--input", "in.txt", "--rejects", device)
    assert Path(device).exists()
    assert "plain file" in predict("--input", "in.txt", "--rejects", device, "--output", "o.jsonl", code=2)
    assert Path(device).exists()


def test_what_is_read_is_not_written(predict):
    for option in ("--output", "--rejects"):
        said = predict("--input", "in.txt", "--to", "jsonl", option, "./in.txt", code=2)
        assert said.startswith("ner-lightning: --")
    gold = {"--output": "gold.conll", "--rejects": "gold.jsonl"}
    for option, name in gold.items():
        Path(name).write_text("Vera B-PER\nleft O\n")
        words = ["--input", "in.txt", "--calibrate", name, option, name]
        assert f"{option} {name} is what is read" in predict(*words, code=2)
    assert "is the --output as well" in predict(
        "--input", "in.txt", "--output", "o.jsonl", "--rejects", "o.jsonl", code=2
    )
    assert Path("in.txt").read_text() == "Vera left.\n"
    assert {Path(name).read_text() for name in gold.values()} == {"Vera B-PER\nleft O\n"}


def test_an_output_that_is_there_is_told_before_anything_loads(predict):
    Path("out.jsonl").write_text("mine\n")
    assert main(["predict", "nowhere", "--input", "in.txt", "--output", "out.jsonl"]) == 2
    assert Path("out.jsonl").read_text() == "mine\n"
    said = predict("--input", "in.txt", "--output", "out.jsonl")
    assert "out.jsonl exists; it is replaced" in said
    assert said.index("it is replaced") < said.index("Loading")
    assert json.loads(Path("out.jsonl").read_text())["text"] == "Vera left."


def test_a_link_is_not_emptied_before_there_are_lines(predict):
    Path("target").write_text("mine\n")
    Path("link.jsonl").symlink_to("target")
    assert main(["predict", "nowhere", "--input", "in.txt", "--output", "link.jsonl"]) == 2
    assert Path("target").read_text() == "mine\n"
    predict("--input", "in.txt", "--output", "link.jsonl")
    assert json.loads(Path("target").read_text())["text"] == "Vera left."


ODD = {"request": 3, "totals": asdict(Totals()), "sizes": []}


@pytest.mark.parametrize("name", ["out.jsonl.partial", "out.jsonl.partial.json"])
@pytest.mark.parametrize("restart", [[], ["--restart"]])
@pytest.mark.parametrize("text", ["{}", json.dumps(ODD)])
def test_a_partial_file_of_something_else_is_refused_and_stays(predict, name, restart, text):
    Path(name).write_text(text)
    said = predict("--input", "in.txt", "--output", "out.jsonl", *restart, code=2)
    assert f"{name} exists, and was not written by a command that can be resumed" in said
    assert Path(name).read_text() == text


def test_a_stop_within_the_first_block_leaves_what_can_be_begun_again(tmp_path):
    """As SIGKILL leaves it: lines of a block, and nothing that notes the block."""
    path, rejects = tmp_path / "out.jsonl", tmp_path / "rejects"
    first = ResumableOutput(path, rejects, {"a": 1})
    first._start()
    Path(f"{path}.partial").write_text("half")
    rejects.write_text('{"file": "a", "li')
    first._lock.close()
    again = ResumableOutput(path, rejects, {"a": 1})
    assert again.totals == Totals()
    again.add("whole\n", "", Totals(records=1, texts=1))
    again.finish(None)
    assert path.read_text() == "whole\n"
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


def test_nothing_is_left_of_a_command_that_added_nothing(tmp_path):
    for made in (ResumableOutput(tmp_path / "o", tmp_path / "r", {}), DirectOutput(tmp_path / "link", None)):
        made.stop()
    assert not list(tmp_path.iterdir())


def test_an_export_takes_no_folder_that_holds_something(predict, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").touch()
    for name in ("mine", "in.txt"):
        assert main(["export", "untrained.ckpt", "--output", name]) == 2
    draft = tmp_path / f".out.{os.getpid()}.tmp"
    draft.mkdir()
    (draft / "x").touch()
    with pytest.raises(FileExistsError):
        main(["export", "untrained.ckpt", "--output", "out"])
    assert (draft / "x").exists()


def test_a_report_takes_the_place_of_reports_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = {"words": ["Vera"], "gold": ["B-PER"], "predicted": ["O"], "document": None}
    Path("predictions.test.jsonl").write_text(json.dumps(rows) + "\n")
    words = ["report", "predictions.test.jsonl", "--output"]
    for name in ("report.md", "report.html"):
        folder = Path(name.replace(".", "-"))
        folder.mkdir()
        (folder / name).write_text("my thesis")
        assert main([*words, str(folder)]) == 2
        assert "exists and was not written by this command" in capsys.readouterr().err
        assert (folder / name).read_text() == "my thesis"
    for _ in range(2):
        assert main([*words, "again"]) == 0


def test_a_file_named_last_is_not_replaced_by_the_link(tmp_path):
    (tmp_path / "last").write_text("mine")
    with pytest.raises(UserError, match="is not a link to a run"):
        create(tmp_path, "run")
    assert [file.name for file in tmp_path.iterdir()] == ["last"]
