"""`predict --ray`, and input and output on filesystems that pyarrow opens."""

import contextlib
import json
import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import taggers
import torch
from shared import stop_with_ctrl_c, stopping
from untrained import write_checkpoint

from ner_lightning.commands.main import main
from ner_lightning.commands.taggers import tagger_loading
from ner_lightning.data.readers.record import Record
from ner_lightning.errors import UserError
from ner_lightning.inference import bulk, ray_actors
from ner_lightning.inference.block_pool import tag_in_order
from ner_lightning.inference.io.resumable import Totals

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)
LINES = 24  # in blocks of 3


@pytest.fixture
def predict(llama, tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder, in blocks of three texts; returns what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bulk, "BLOCK_RECORDS", 3)
    texts = (taggers.texts() * 3)[:LINES]
    Path("in").mkdir()
    Path("in/a.txt").write_text("\n".join(texts[:10]), encoding="utf-8")
    rows = [json.dumps({"text": text, "id": number}) for number, text in enumerate(texts[10:])]
    Path("in/b.jsonl").write_text("\n".join(rows), encoding="utf-8")

    def call(*words, code=0):
        capsys.readouterr()
        assert main(["predict", *words]) == code
        return capsys.readouterr()

    return call


@pytest.fixture
def alone(llama, monkeypatch):
    """One tagger in this process."""
    tagger = taggers.random_tagger(llama)
    monkeypatch.setattr(tagger_loading, "read_tagger", lambda *args, **kwargs: tagger)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_remote_input_and_output_are_as_local_ones(predict, tmp_path, name):
    predict("--input", "in", "--output", name)
    Path("there").mkdir()
    said = predict("--input", f"file://{tmp_path}/in", "--output", f"file://{tmp_path}/there/{name}").err
    assert f"texts, {name}" not in said
    assert f": file://{tmp_path}/there/{name} (" in said
    assert Path("there", name).read_bytes() == Path(name).read_bytes()
    assert not list(Path().glob("upload*"))


@pytest.mark.usefixtures("alone")
def test_a_remote_file_is_named_by_its_address(predict, tmp_path):
    address = f"file://{tmp_path}/in/a.txt"
    rows = predict("--input", address, "--output", "-").out.splitlines()
    assert {json.loads(row)["file"] for row in rows} == {address}


@pytest.mark.usefixtures("alone")
def test_a_remote_file_that_has_changed_does_not_resume(predict, tmp_path, monkeypatch):
    words = ("--input", f"file://{tmp_path}/in", "--output", f"file://{tmp_path}/out.jsonl")
    with monkeypatch.context() as patched:
        stopping(patched, 2, stop_with_ctrl_c)
        assert re.search(r"upload\.\w{8}\.out\.jsonl\.partial holds 6 texts", predict(*words, code=130).err)
    Path("in/b.jsonl").write_text('{"text": "Vera"}\n', encoding="utf-8")
    assert "different options or files (input files)" in predict(*words, code=2).err
    predict(*words, "--restart")
    assert len(Path("out.jsonl").read_bytes().splitlines()) == 11


MISTAKES = {
    "a text": (["--text", "Vera", "--ray", "local"], "--ray has no effect here: it is for files"),
    "the most uncertain": (
        ["--input", "in", "--ray", "local", "--most_uncertain", "2"],
        "--most_uncertain compares all texts, in one process; leave out --ray",
    ),
    "calibration": (
        ["--input", "in", "--ray", "local", "--calibrate", "x"],
        "--calibrate works in one process",
    ),
    "a device": (["--input", "in", "--ray", "auto", "--device", "cpu:0"], "--device cpu:0"),
    "no workers": (["--input", "in", "--ray", "auto", "--workers", "0"], "--workers is 0"),
    "no such filesystem": (["--input", "ftp://x/y"], "ftp://x/y: pyarrow opens no such filesystem"),
    "no filesystem for the output": (
        ["--input", "in", "--output", "ftp://x/y.jsonl"],
        "ftp://x/y.jsonl: pyarrow opens no such filesystem",
    ),
    "no such remote file": (["--input", "file:///no/such"], "file:///no/such: cannot be read"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(predict, case):
    words, expected = MISTAKES[case]
    said = predict(*words, code=2).err
    assert expected in said
    assert "Loading" not in said


def test_ray_is_asked_for(predict, monkeypatch):
    monkeypatch.setattr(ray_actors, "find_spec", lambda name: None)
    said = predict("--input", "in", "--output", "x.jsonl", "--ray", "auto", code=2).err
    assert "pip install 'ner-lightning[ray]'" in said


def test_actors_share_a_cluster():
    each = ray_actors._each
    assert each({"CPU": 16.0}, 2, None) == {"count": 2, "num_cpus": 8}
    assert each({"CPU": 16.0, "GPU": 4.0}, 2, None) == {"count": 4, "num_cpus": 4, "num_gpus": 1.0}
    assert each({"CPU": 4.0, "GPU": 1.0}, 1, 8) == {"count": 8, "num_cpus": 0.5, "num_gpus": 0.125}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_actors_write_what_one_process_writes_and_one_may_be_killed(
    predict, llama, tmp_path, monkeypatch
):
    path = write_checkpoint(tmp_path, llama, peft="lora", lora={"rank": 2})
    held = torch.load(path, weights_only=True)
    torch.manual_seed(0)
    for key, value in held["state_dict"].items():
        torch.nn.init.normal_(value, std=0.3 if "lora" not in key else 0.1)
    torch.save(held, path)
    monkeypatch.setenv("PYTHONPATH", str(Path(bulk.__file__).parents[2]))
    killed = []

    def kill_an_actor():
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # one that has ended meanwhile
                if "ray::_Actor" in " ".join(child.cmdline()) and not killed:
                    killed.append(child.pid)
                    os.kill(child.pid, signal.SIGKILL)

    for name in ("out.jsonl", "out.parquet"):
        words = (str(path), "--input", "in", "--output", name)
        predict(*words)
        whole = Path(name).read_bytes()
        assert b"PER" in whole
        Path(name).unlink()
        with monkeypatch.context() as patched:
            if not killed:
                stopping(patched, 2, kill_an_actor)
            predict(*words, "--ray", "local", "--workers", "2")
        assert Path(name).read_bytes() == whole
        assert killed
        assert not list(Path().glob("*partial*"))
    (tmp_path / "b.ckpt").write_bytes(b"no checkpoint")
    words = (str(tmp_path / "b.ckpt"), "--input", "in", "--output", "x.jsonl", "--ray", "local")
    assert "b.ckpt" in predict(*words, "--workers", "2", code=2).err


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", ["a block", "loading", "a bug"])
def test_what_ends_every_actor_is_said_and_what_was_tagged_before_it_stays(kills, monkeypatch):
    def make(number, temperature):
        if kills == "loading":
            os._exit(1)
        if kills == "a bug":
            raise KeyError("a bug in loading")

        def tag(block):
            if block[0].line == 5:
                os._exit(1)
            return bulk.TaggedBlock(f"{block[0].line} ", "", Totals(), 0.0)

        tag.tagger = SimpleNamespace(labels=taggers.LABELS)
        return tag

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(bulk.__file__).parents[2]), *sys.path]))
    tagged = []
    error, said = {
        "a block": (UserError, "texts.txt:5: every Ray actor that got"),
        "loading": (UserError, "4 times while they loaded the tagger"),
        "a bug": (KeyError, "a bug in loading"),  # whose traceback tells what it is
    }[kills]

    def tag_all(actors):
        actors.start()
        for block in tag_in_order(actors, iter([[Record("texts.txt", line, "Vera")] for line in range(12)])):
            tagged.append(block.lines)

    with ray_actors.RayActors(make, "local", 2) as actors, pytest.raises(error, match=said):
        tag_all(actors)
    assert "".join(tagged) == ("0 1 2 3 4 " if kills == "a block" else "")
