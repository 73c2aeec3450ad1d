"""Standard output whose encoding is not UTF-8 ends no command; data are UTF-8 all the same."""

import io
import json
import sys
from pathlib import Path

import pytest
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.system.console import say
from ner_lightning.system.progress import printed, stage, warn

TEXT = "Łucja left Zürich."


pytestmark = pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])


def standard(monkeypatch, encoding):
    """Makes standard output and error a stream of that encoding; in a test, since pytest sets its own."""
    made = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", made)
    monkeypatch.setattr(sys, "stderr", made)
    return made


def written(stream):
    stream.flush()
    return stream.buffer.getvalue()


def test_lines_are_escaped(encoding, monkeypatch):
    stream = standard(monkeypatch, encoding)
    say(TEXT)
    with printed("stdout"):
        stage(TEXT)
        warn(TEXT)
    assert written(stream) == (TEXT.encode(encoding, "backslashreplace") + b"\n") * 3
    assert rb"\u0141ucja" in written(stream)


def test_what_commands_print_is_escaped_and_data_are_utf8(encoding, llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path, llama)
    stream = standard(monkeypatch, encoding)
    Path("Łódź.conll").write_text("Łucja B-PER\nleft O\n\n", encoding="utf-8")
    predict = ["predict", "untrained.ckpt", "--text", TEXT]
    assert main(predict) == 0
    assert rb"\u0141" in written(stream)
    convert = ["data", "convert", "Łódź.conll", "--output", "-", "--to", "jsonl"]
    for words in ([*predict, "--output", "-"], [*predict, "--to", "jsonl"], convert):
        before = len(written(stream))
        assert main(words) == 0
        lines = written(stream)[before:].splitlines()
        rows = [json.loads(line) for line in lines if line.startswith(b"{")]
        assert len(rows) == 1
        assert "Łucja" in str(rows)
    assert (stream.encoding, stream.errors) == (encoding, "strict")


def test_a_mistake_is_told_on_the_way_out(encoding, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stream = standard(monkeypatch, encoding)
    assert main(["data", "check", "Łódź.conll"]) == 2
    assert rb"\u0141" in written(stream)
