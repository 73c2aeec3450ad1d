"""What predict reads, where it writes, and what it says when it cannot."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import yaml
from shared import json_rows

from ner_lightning.commands.main import main

TEXT = "Vera Holt left Lima .\n" * 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory, llama):
    """A folder with one run."""
    folder = tmp_path_factory.mktemp("predict")
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1},
        "model": {"backbone": str(llama), "lora": {"rank": 2}},
        "data": {"dataset": str(tiny.write_corpus(folder / "data", repeat=1))},
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["fit", "--config", "small.yaml"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def trained_here(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    capsys.readouterr()
    return trained


PHRASE = "\u0e01" * 24


def test_a_script_without_spaces_is_named_once(trained_here, capsys):
    (trained_here / "thai.txt").write_text(f"Vera\n{PHRASE}\n{PHRASE}\n", encoding="utf-8")
    rows = ({"text": "Vera"}, {"text": PHRASE})
    (trained_here / "thai.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (trained_here / "words.jsonl").write_text(json.dumps({"words": [PHRASE, "Vera"]}), encoding="utf-8")
    for words, where in (
        (("--input", "thai.txt"), "thai.txt:2: "),
        (("--input", "thai.jsonl"), "thai.jsonl:2: "),
        (("--text", "Vera", "--text", PHRASE, "--text", PHRASE), "--text:2: "),
        (("--input", "thai.txt", "--tokenized"), None),
        (("--input", "words.jsonl"), None),
        (("--text", PHRASE[:12] + " " + PHRASE[:12]), None),
    ):
        assert main(["predict", *words, "--output", "-"]) == 0
        captured = capsys.readouterr()
        assert captured.err.count("is not split into words") == (where is not None), words
        assert where is None or f"{where}Thai, Lao, Khmer and Myanmar text" in captured.err


BAD = {
    "an empty text": ("a.txt", b"", "a.txt:1: no sentence in the file"),
    "blank lines alone": ("a.txt", b"\n \n", "a.txt:1: no sentence in the file"),
    "empty columns": ("a.conll", b"", "a.conll:1: no sentence in the file"),
    "empty JSONL": ("a.jsonl", b"", "a.jsonl:1: no sentence in the file"),
    "Latin-1": ("a.txt", b"Vera\nJos\xe9 left\n", "a.txt:2: byte 0xe9 in column 4 is not UTF-8"),
    "a word of no width": ("a.conll", "Vera\nleft\n\u200b\n".encode(), "a.conll:3: word '\\u200b' is empty"),
    "no JSON": ("a.jsonl", b'{"text": "Vera"}\n{\n', "a.jsonl:2: not JSON"),
    "no such field": (
        "a.jsonl",
        b'{"body": "Vera"}\n',
        "a.jsonl:1: neither a list of words nor a text; name one as",
    ),
    "no such column": ("a.csv", b"id,body\n1,Vera\n", "a.csv:1: no column word or token"),
    "UTF-16 cut short": ("a.txt", "Vera left".encode("utf-16") + b"x", "a.txt:1: this begins as UTF-16 text"),
    "UTF-16 as JSONL": ("a.jsonl", '{"text": "x"}'.encode("utf-16-le"), "a.jsonl:1: this is UTF-16 text"),
    "UTF-16 as CSV": ("a.csv", "text\nVera\n".encode("utf-16-be"), "a.csv:1: this is UTF-16 text"),
    "a zip as text": ("a.txt", b"PK\x03\x04\x14\x00", "a.txt:1: this is a zip archive"),
    "a workbook": (
        "a.xlsx",
        b"PK\x03\x04\x14\x00",
        "a.xlsx:1: this is a zip archive, as .xlsx and .docx are",
    ),
    "a document that is text": ("a.docx", b"Vera left\n", "a.docx: .docx is no format of text; convert"),
    "RTF": ("a.rtf", b"{\\rtf1 Vera}\n", "a.rtf:1: this is an RTF document; save it as plain text"),
    "PDF": ("a.pdf", b"%PDF-1.7\n", "a.pdf:1: this is PDF; extract its text first"),
    "Parquet as columns": ("a.conll", b"PAR1\x15\x04", "a.conll:1: not a complete Parquet file"),
    "a row without a word": ("a.conll", b"Vera\tO\n\tO\n", "a.conll:2: word '' is empty or invisible"),
    "no Parquet": ("a.parquet", b"text", "a.parquet:1: not a complete Parquet file"),
    "no folder of ours": (".", b"", ".: no file in this folder ends in"),
}


@pytest.mark.parametrize("case", BAD)
def test_input_that_cannot_be_tagged(trained_here, tmp_path, monkeypatch, capsys, case):
    name, content, expected = BAD[case]
    monkeypatch.chdir(tmp_path)
    if name != ".":
        Path(name).write_bytes(content)
    assert main(["predict", "--input", name, "--output", "out.jsonl", "--strict"]) == 2
    said = capsys.readouterr().err
    how, _, message = said.rpartition("ner-lightning: ")  # a line may say how the file is read
    assert message.startswith(expected)
    assert how.count("\n") <= 1
    assert message.count("\n") <= 2
    assert "Loading" not in said, "said before anything is loaded"
    assert not list(Path().glob("out.jsonl*"))


OPTIONS = {
    "an output of no format": (["--text", "Vera", "--output", "x.xlsx"], "x.xlsx ends in none of .conll, "),
    "an output without a suffix": (
        ["--text", "Vera", "--output", "x"],
        "name its format with --to (jsonl, conll, ",
    ),
    "an input of no format": (["--input", "m.html"], "m.html: .html is none of .conll, "),
    "rejects of another format": (["--input", "text.txt", "--rejects", "x.csv"], "x.csv is written as JSONL"),
    "text or columns": (
        ["--text", "Vera", "--output", "x.TXT"],
        "x.TXT: .txt may mean columns or text;\nsay which: --to conll (columns) or --to text (entities in ",
    ),
    "the input as output": (
        ["--input", "text.txt", "--output", "text.txt", "--to", "text"],
        "is what is read",
    ),
    "a file of its folder as output": (
        ["--input", ".", "--output", "text.txt", "--to", "text"],
        "is what is read",
    ),
    "one file for both": (
        ["--input", "text.txt", "--output", "x.jsonl", "--rejects", "x.jsonl"],
        "x.jsonl is the --output as well",
    ),
    "a field of text": (
        ["--input", "text.txt", "--words_column", "body"],
        "--words_column has no effect here: it is for columns, JSONL",
    ),
    "an id of a text": (["--text", "Vera", "--id_column", "key"], "--id_column has no effect here"),
    "whole files of words": (["--input", "w.conll", "--whole_files"], "--whole_files has no effect here"),
    "words cut at spaces": (["--input", "w.conll", "--tokenized"], "the input holds words, not running text"),
    "words of JSONL cut at spaces": (
        ["--input", "w.jsonl", "--tokenized"],
        "the input holds words, not running",
    ),
    "an id of columns": (["--input", "w.conll", "--id_column", "1"], "--id_column has no effect here"),
    "a format of a text": (
        ["--text", "Vera", "--from", "txt"],
        "--from has no effect here: it is for files",
    ),
    "rejects of a text": (["--text", "Vera", "--strict"], "--strict has no effect here"),
    "nothing to begin again": (["--text", "Vera", "--restart"], "--restart has no effect here: only a file"),
    "nothing to write": (
        ["--calibrate", "w.conll", "--to", "csv"],
        "--to has no effect here: there is no --input",
    ),
    "a text without words": (["--text", " ", "--text", "\n"], "--text holds no word"),
    "a table on a terminal": (["--text", "Vera", "--wide"], "--wide writes a table"),
    "Parquet on a terminal": (["--text", "Vera", "--to", "parquet"], "parquet needs a file"),
    "no temperature": (
        ["--text", "Vera", "--temperature", "0"],
        "--temperature is 0.0; it must be a number above 0",
    ),
    "a probability of zero": (
        ["--text", "Vera", "--min_score", "0"],
        "--min_score is 0; it must be a number above 0 and at most 1",
    ),
    "a probability of a type above one": (
        ["--text", "Vera", "--min_score", "0.5", "--min_score", "PER=2"],
        "--min_score PER is 2; it must",
    ),
    "overlaps of tags": (
        ["--text", "Vera", "--overlaps", "keep"],
        "--overlaps has no effect here: it is for",
    ),
    "overlaps in columns": (
        ["--text", "Vera", "--min_score", "0.1", "--overlaps", "keep", "--to", "conll"],
        "--overlaps keep: conll cannot show entities that share words; use --overlaps resolve",
    ),
    "overlaps in a wide table": (
        ["--text", "Vera", "--min_score", "0.1", "--overlaps", "keep", "--output", "x.csv", "--wide"],
        "--overlaps keep: --wide cannot show",
    ),
    "a probability of nothing": (
        ["--calibrate", "w.conll", "--min_score", "0.5"],
        "--min_score has no effect here: there is no --input",
    ),
    "two temperatures": (["--temperature", "2", "--calibrate", "x"], "leave out --temperature"),
    "a temperature that cannot be found again": (
        ["--calibrate", "-", "--input", "w.jsonl", "--output", "x.jsonl"],
        "--calibrate - reads standard input, so a stopped command could not be resumed",
    ),
    "no file to calibrate by": (["--calibrate", "x.conll"], "x.conll: cannot be read"),
    "no such folder": (["--text", "Vera", "--output", "no/x.jsonl"], "there is no folder no"),
    "no such run": (["no", "--text", "Vera"], "no run folder or checkpoint no"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_cannot_be(trained_here, capsys, case):
    words, expected = OPTIONS[case]
    Path("m.html").write_text("<p>Vera</p>\n", encoding="utf-8")
    Path("w.conll").write_text("Vera O\n", encoding="utf-8")
    Path("w.jsonl").write_text('{"tokens": ["Vera"]}\n', encoding="utf-8")
    assert main(["predict", *words]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert "Loading" not in said
    assert Path("text.txt").read_text(encoding="utf-8") == TEXT


def test_a_file_of_text_has_it_as_it_is_and_the_terminal_has_it_safe(trained_here, capsys):
    text = "Be\u200cla left \u200fLima.\x1b"
    assert main(["predict", "--text", text, "--output", "out.txt", "--to", "text"]) == 0
    written = Path("out.txt").read_text(encoding="utf-8")
    assert [written.count(sign) for sign in ("\u200c", "\u200f", "\x1b", "\\x")] == [1, 1, 1, 0]
    capsys.readouterr()
    assert main(["predict", "--text", text]) == 0
    printed = capsys.readouterr().out
    assert [printed.count(sign) for sign in ("\u200c", "\u200f", "\x1b", "\\x")] == [1, 0, 0, 2]


def test_a_link_is_written_through(trained_here, capsys):
    Path("there.jsonl").write_text("old\n", encoding="utf-8")
    Path("link.jsonl").symlink_to("there.jsonl")
    assert main(["predict", "--input", "text.txt", "--output", "link.jsonl"]) == 0
    assert Path("link.jsonl").is_symlink()
    written = json_rows("there.jsonl")
    assert [row["text"] for row in written] == TEXT.splitlines()


def test_a_named_pipe_gets_the_lines_alone(trained_here):
    os.mkfifo("pipe.conll")
    with subprocess.Popen(["cat", "pipe.conll"], stdout=subprocess.PIPE, text=True) as reader:
        assert main(["predict", "--input", "text.txt", "--output", "pipe.conll"]) == 0
        got, _ = reader.communicate(timeout=60)
    assert [line.split()[0] for line in got.split("\n") if line] == TEXT.split()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("predict", "--text", "Vera left ."), marks=pytest.mark.slow),
        pytest.param(("fit", "--config", "small.yaml", "--print_config"), marks=pytest.mark.slow),
        ("--version",),
    ],
)
def test_a_reader_that_has_gone_is_no_error(trained_here, words):
    ours, theirs = os.pipe()
    os.close(ours)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "ner_lightning", *words]
    done = subprocess.run(command, env=env, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    assert done.returncode == 1
    assert "Broken" not in done.stderr
    assert "Traceback" not in done.stderr


def test_sentences_of_a_conll_file_have_their_documents(llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tiny.write_corpus(Path("data"))
    blocks = (folder / "train.txt").read_text(encoding="utf-8").strip().split("\n\n")
    begun = ["-DOCSTART- O\n\n" * (place % 5 == 0) + block for place, block in enumerate(blocks)]
    (folder / "valid.txt").write_text("\n\n".join(begun) + "\n", encoding="utf-8")
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 3},
        "model": {
            "backbone": str(llama),
            "lora": {"rank": 2},
            "optimizer": {"lr": 0.01, "head_lr": 0.03, "crf_lr": 0.1},
        },
        "data": {"dataset": "data", "batches": {"size": 2}, "encoding": {"context": 100}},
    }
    Path("small.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main(["fit", "--config", "small.yaml", "--name", "documents"]) == 0
    held = json_rows("runs/documents/1/predictions.valid.jsonl")
    words = ["--input", "data/valid.txt", "--from", "conll", "--output", "out.jsonl"]
    assert main(["predict", "runs/documents/1", *words]) == 0
    found = json_rows("out.jsonl")
    for one, other in zip(found, held, strict=True):
        scores = [entity["score"] for entity in one["entities"]]
        assert scores == pytest.approx([entity["marginal"] for entity in other["entities"]], abs=1e-3)
    assert any(each["entities"] for each in found)


def test_the_file_of_rejects_that_was_not_named_is_no_input_either(trained_here, capsys, tmp_path):
    source = tmp_path / "out.jsonl.rejects.jsonl"
    source.write_text('{"text": "Vera Holt left Lima."}\n')
    assert main(["predict", "--input", str(source), "--output", str(tmp_path / "out.jsonl")]) == 2
    assert "is what is read; name another one" in capsys.readouterr().err
    assert source.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "", "--text", "Vera"], "RUN is empty; give it a value, or leave it out"),
        (["predict", "--run", "", "--text", "Vera"], "--run is empty"),
        (["predict", "--calibrate", "", "--text", "Vera"], "--calibrate is empty"),
        (["predict", "--input", "text.txt", "--output", "x.jsonl", "--rejects", ""], "--rejects is empty"),
        (["export", "", "--output", "x"], "RUN is empty"),
        (["export", "--output", ""], "--output is empty"),
        (["predict", "~nobody-of-this-name/x", "--text", "Vera"], "there is no user nobody-of-this-name"),
    ],
)
def test_what_a_shell_leaves_empty_is_no_default(trained_here, capsys, words, said):
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Vera Holt left Lima.\n", ["--words_column", "nosuch"]),
        (b'{"text": "Vera Holt left Lima."}\n', ["--whole_files"]),
    ],
)
def test_options_of_other_formats_are_refused_on_standard_input_too(
    trained_here, monkeypatch, capsys, content, words
):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert main(["predict", "--input", "-", "--output", "-", *words]) == 2
    assert "has no effect here" in capsys.readouterr().err


def test_calibrating_on_what_was_trained_on_is_said(trained_here, capsys):
    (train,) = (trained_here / "data").glob("train.*")
    assert main(["predict", "--calibrate", str(train)]) == 0
    assert "is what the tagger was trained on" in capsys.readouterr().err
    assert main(["export", "--output", "exported"]) == 0
    assert main(["predict", "exported", "--calibrate", str(train)]) == 0
    assert "is what the tagger was trained on" in capsys.readouterr().err
    (other,) = (trained_here / "data").glob("valid.*")
    assert main(["predict", "exported", "--calibrate", str(other)]) == 0
    assert "trained on" not in capsys.readouterr().err


def test_ids_and_names_that_utf8_cannot_write_stop_nothing(trained_here, tmp_path, capsys):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("Vera Holt left Lima.\n")
    (folder / "b.jsonl").write_text('{"id": "\\ud83d", "text": "Vera Holt left Lima."}\n')
    output = tmp_path / "o.jsonl"
    assert main(["predict", "--input", str(folder), "--output", str(output)]) == 0
    rows = json_rows(output)
    assert len(rows) == 2
    assert "\ufffd" in {row.get("id") for row in rows}
