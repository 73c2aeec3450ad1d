"""A resumed output is that of one command, one input and one model; no two commands write it at once."""

import io
import json
import re
import sys
from pathlib import Path

import pytest

from ner_lightning.commands.main import main
from ner_lightning.commands.taggers import tagger_loading
from ner_lightning.errors import UserError
from ner_lightning.inference import bulk
from ner_lightning.inference.io.resumable import ResumableOutput, Totals

GOLD = "Vera B-PER\nleft O\nLima B-LOC\n\nNobody O\nleft O\n"


@pytest.fixture
def predict(tagger, tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder, in blocks of two texts; returns what it says.

    With `stop`, Ctrl-C stops it after so many blocks.
    """
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(bulk, "BLOCK_RECORDS", 2)
    monkeypatch.setattr(tagger_loading, "read_tagger", lambda *args, **kwargs: tagger)
    tagger.temperature = 1.0
    real, calls = ResumableOutput.add, []

    def run(*words, code=0, stop=None, stdin=b""):
        def add(self, *given):
            real(self, *given)
            calls.append(1)
            if len(calls) == stop:
                raise KeyboardInterrupt

        calls.clear()
        monkeypatch.setattr(ResumableOutput, "add", add)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        assert main(["predict", *words]) == (130 if stop else code)
        return capsys.readouterr().err

    return run


def texts(name, count, of=""):
    lines = "".join(f"{of}Vera Holt {number} left Lima.\n" for number in range(count))
    Path(name).write_text(lines, encoding="utf-8")
    return lines.encode()


def texts_in(name):
    return [json.loads(line)["text"] for line in Path(name).read_text(encoding="utf-8").splitlines()]


def names():
    return sorted(path.name for path in Path().iterdir())


@pytest.mark.parametrize("more", [[], ["--restart"]])
def test_a_second_command_does_not_write_the_output_of_the_first(predict, more):
    texts("in.txt", 6)
    words = ("--input", "in.txt", "--output", "out.jsonl")
    predict(*words, stop=1)
    request = json.loads(Path("out.jsonl.partial.json").read_text())["request"]
    first = ResumableOutput(Path("out.jsonl"), Path("out.jsonl.rejects.jsonl"), request)
    before = {name: Path(name).read_bytes() for name in names()}
    assert "another predict is writing out.jsonl.partial" in predict(*words, *more, code=2)
    assert {name: Path(name).read_bytes() for name in names()} == before
    first.stop()
    predict(*words)
    assert texts_in("out.jsonl") == Path("in.txt").read_text().splitlines()
    assert names() == ["in.txt", "out.jsonl"]


def test_an_output_is_locked_from_the_beginning_to_the_end(tmp_path):
    path, rejects = tmp_path / "o", tmp_path / "r"
    for end in (lambda output: output.stop(), lambda output: output.finish(None)):
        first = ResumableOutput(path, rejects, {})
        with pytest.raises(UserError, match="another predict"):
            ResumableOutput(path, rejects, {})
        end(first)
        ResumableOutput(path, rejects, {}).stop()
    assert [file.name for file in tmp_path.iterdir()] == ["o"]


def test_remote_outputs_of_one_name_do_not_share_a_file(predict, tmp_path):
    texts("in.txt", 4)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    words = ("--input", "in.txt", "--output")
    predict(*words, f"file://{tmp_path}/a/o.jsonl", stop=1)
    predict(*words, f"file://{tmp_path}/b/o.jsonl")
    assert "Resuming after 2 texts" in predict(*words, f"file://{tmp_path}/a/o.jsonl")
    assert (tmp_path / "a/o.jsonl").read_bytes() == (tmp_path / "b/o.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("source", "output"), [("{}", "file://{}"), ("file://{}", "{}"), ("file://{}", "file://{}")]
)
def test_an_input_is_not_overwritten_by_its_address(predict, tmp_path, source, output):
    file = tmp_path / "in.jsonl"
    file.write_text('{"text": "Vera left."}\n')
    said = predict("--input", source.format(file), "--output", output.format(file), code=2)
    assert "is what is read; name another one" in said
    assert file.read_text() == '{"text": "Vera left."}\n'
    assert names() == []


def test_a_remote_output_is_no_calibration_file_and_no_rejects(predict, tmp_path):
    texts("in.txt", 1)
    gold = tmp_path / "gold.conll"
    gold.write_text(GOLD)
    words = ("--input", "in.txt", "--output", f"file://{gold}")
    assert "is what is read" in predict(*words, "--calibrate", str(gold), code=2)
    same = ("--output", f"file://{tmp_path}/o.jsonl", "--rejects", str(tmp_path / "o.jsonl"))
    assert "is the --output as well" in predict("--input", "in.txt", *same, code=2)
    assert gold.read_text() == GOLD


def test_other_standard_input_does_not_resume(predict):
    first, other = texts("a.txt", 6), texts("b.txt", 6, of="Okoro met ")
    words = ("--input", "-", "--output", "out.jsonl")
    predict(*words, stop=1, stdin=first)
    said = predict(*words, stdin=other, code=2)
    assert "the first 2 texts of the input are not those that were tagged before the stop" in said
    assert "are not those" in predict(*words, stdin=first.splitlines()[0], code=2)
    predict(*words, stdin=first)
    assert texts_in("out.jsonl") == first.decode().splitlines()
    predict(*words, stop=1, stdin=first)
    predict(*words, "--restart", stdin=other)
    assert texts_in("out.jsonl") == other.decode().splitlines()


def test_the_most_uncertain_texts_know_their_input_again(predict):
    first, other = texts("a.txt", 6), texts("b.txt", 6, of="Okoro met ")
    words = ("--input", "-", "--output", "out.jsonl", "--most_uncertain", "2")
    predict(*words, stdin=first)
    whole = texts_in("out.jsonl")
    predict(*words, stop=1, stdin=first)
    assert "are not those" in predict(*words, stdin=other, code=2)
    said = predict(*words, stdin=first)
    assert "Resuming after 6 texts" in said
    assert f"{len(whole)} text" in said
    assert texts_in("out.jsonl") == whole


def changed(name, text):
    return lambda: Path(name).write_text(text)


CHANGES = {
    "manifest": (["exported"], changed("exported/ner_lightning.json", '{"temperature": 5.0}'), [], "model"),
    "graph": (["exported"], changed("exported/model.onnx", "other"), [], "model"),
    "weights of a graph": (["exported"], changed("exported/openvino.bin", "other"), [], "model"),
    "calibration": (
        ["--calibrate", "gold.conll"],
        changed("gold.conll", GOLD + "\nLima B-LOC\n"),
        [],
        "calibration files",
    ),
    "engine": ([], lambda: None, ["--engine", "torch"], "engine"),
    "backbone": ([], lambda: None, ["--backbone", "elsewhere"], "backbone"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_another_model_or_calibration_does_not_resume(predict, case):
    words, change, more, expected = CHANGES[case]
    texts("in.txt", 4)
    Path("gold.conll").write_text(GOLD)
    Path("exported").mkdir()
    for name in ("ner_lightning.json", "model.onnx", "openvino.xml", "openvino.bin"):
        Path("exported", name).write_text("first")
    words = (*words, "--input", "in.txt", "--output", "out.jsonl")
    predict(*words, stop=1)
    change()
    assert f"different options or files ({expected})" in predict(*words, *more, code=2)


@pytest.mark.parametrize("scheme", ["", "file://{}/"])
def test_an_output_in_the_folder_that_is_read_is_refused(predict, tmp_path, scheme):
    at = scheme.format(Path.cwd())
    Path("in").mkdir()
    texts("in/a.txt", 4)
    for option in ("--output", "--rejects"):
        said = predict("--input", f"{at}in", option, "in/new.jsonl", code=2)
        assert f"{option} in/new.jsonl is in {at}in, whose files are all read" in said
    assert "are all read" in predict(
        "--input", f"{at}in", "--output", f"file://{Path.cwd()}/in/o.csv", code=2
    )
    said = predict("--input", f"{at}.", "--output", f"file://{tmp_path}/o.jsonl", code=2)
    assert "run the command in another folder" in said
    Path("in/.hidden").mkdir()
    predict("--input", f"{at}in", "--output", "in/.hidden/out.jsonl")
    assert names() == ["in"]


def test_rejects_have_a_folder_and_a_file_of_their_own(predict):
    Path("in.txt").write_bytes(b"Vera left.\n\xff\n")
    words = ("--input", "in.txt", "--output", "out.jsonl")
    assert "--rejects no/r.jsonl: there is no folder no" in predict(*words, "--rejects", "no/r.jsonl", code=2)
    for name in ("out.jsonl", "out.jsonl.partial.json"):
        said = predict(*words, "--rejects", str(Path(name).absolute()), code=2)
        assert f"{name} is the --output as well" in said
    assert names() == ["in.txt"]


@pytest.mark.parametrize("name", ["out.jsonl.partial", "out.jsonl.rejects.jsonl"])
@pytest.mark.parametrize("left", [None, 20])
def test_lines_that_are_lost_since_the_stop_are_not_made_up(predict, name, left):
    Path("in.txt").write_bytes(b"\xff\nVera left.\n" * 4)
    words = ("--input", "in.txt", "--output", "out.jsonl")
    predict(*words, stop=1)
    if left is None and name.endswith(".partial"):
        left = 1  # without it, the command starts again
    if left is None:
        Path(name).unlink()
    else:
        Path(name).write_bytes(Path(name).read_bytes()[:left])
    said = predict(*words, code=2)
    assert f"{name} is missing, or has lost lines since the command stopped" in said
    assert "--restart" in said
    predict(*words, "--restart")
    assert texts_in("out.jsonl") == ["Vera left."] * 4
    assert len(Path("out.jsonl.rejects.jsonl").read_text().splitlines()) == 4


def test_a_failed_upload_tells_where_the_results_are(predict, tmp_path):
    lines = texts("in.txt", 4).decode().splitlines()
    said = predict("--input", "in.txt", "--output", f"file://{tmp_path}/no/o.jsonl", code=2).splitlines()
    assert "cannot be written" in said[-2]
    file = re.fullmatch(r"the output stays here: (upload\.\w{8}\.o\.jsonl)", said[-1])[1]
    assert texts_in(file) == lines
    assert "resumes" not in "".join(said)
    assert names() == ["in.txt", file]


@pytest.mark.parametrize("more", [[], ["--output", "-"], ["--output", "o.jsonl"], ["RUN", "RUN2"]])
def test_a_text_that_is_not_utf8(predict, more):
    assert "--text holds bytes that are not UTF-8: 'Vera \\udcff'" in predict(
        *more, "--text", "Vera \udcff", code=2
    )
    assert names() == []


def test_an_id_that_no_record_has(predict):
    Path("a.csv").write_text("text,name\nVera left.,x\n")
    Path("a.jsonl").write_text('{"text": "Vera left.", "name": 1}\n')
    for name in ("a.csv", "a.jsonl"):
        words = ("--input", name, "--output", "-", "--id_column")
        assert "--id_column nme: the input begins with records without" in predict(*words, "nme", code=2)
        predict(*words, "name")


def test_the_column_of_the_input_is_not_that_of_the_calibration(predict):
    Path("a.jsonl").write_text('{"body": "Vera left."}\n')
    Path("gold.conll").write_text(GOLD)
    predict(
        "--input", "a.jsonl", "--words_column", "body", "--calibrate", "gold.conll", "--output", "o.jsonl"
    )
    assert texts_in("o.jsonl") == ["Vera left."]
    texts("a.txt", 1)
    words = ("--calibrate", "gold.conll", "--words_column", "0")
    assert "--words_column has no effect" in predict("--input", "a.txt", *words, code=2)
    predict("--text", "Vera left.", *words)


def test_totals_add_up():
    assert Totals(1, 2, 3, 4, 5, 6) + Totals(records=1, checksum=4) == Totals(2, 2, 3, 4, 5, 10)
