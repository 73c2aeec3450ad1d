"""A disk that is really full or really locked: a few lines, and no file that was whole is lost.

The disks are mounts, which only root may make. As root and in continuous integration a mount that
fails is a failure; anybody else's run skips these tests.
"""

import errno
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import tiny
import yaml

from ner_lightning.commands.explained_errors.disk_errors import explain_disk_error
from ner_lightning.commands.main import main
from ner_lightning.runs.checkpoint_file import load_checkpoint

FIT = ("fit", "--config", "good.yaml", "--runs", "disk/runs")


def mount(*words):
    command = ["mount", *words] if os.geteuid() == 0 else ["sudo", "-n", "mount", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        if os.geteuid() == 0 or os.environ.get("CI"):
            pytest.fail(f"{shlex.join(command)}: {done.stderr}")
        pytest.skip("only root can mount a disk")


@pytest.fixture
def disk(tmp_path, llama, monkeypatch):
    """A disk of four megabytes in a folder with a good recipe."""
    if shutil.which("mount") is None and not os.environ.get("CI"):
        pytest.skip("there is no mount command")
    monkeypatch.chdir(tmp_path)
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1},
        "model": {"backbone": str(llama), "lora": {"rank": 2}},
        "data": {"dataset": str(tiny.write_corpus(tmp_path / "data", repeat=1))},
    }
    Path("good.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size=4m,uid={os.geteuid()}", "tmpfs", str(folder))
    yield folder
    undo = ["umount", str(folder)]
    subprocess.run(undo if os.geteuid() == 0 else ["sudo", "-n", *undo], check=True)


def fill(disk, spare):
    """Leaves so many bytes free."""
    free = shutil.disk_usage(disk).free
    (disk / "ballast").write_bytes(b"\0" * (free - spare))


def lock(disk):
    mount("-o", "remount,ro", str(disk))


def fails(capsys, *words):
    capsys.readouterr()
    assert main(list(words)) == 2
    said = capsys.readouterr().err
    said = said[said.index("ner-lightning: ") :]
    assert 1 <= len(said.strip().split("\n")) <= 3
    assert "Traceback" not in said
    return said


def test_full_before_the_first_step(disk, capsys):
    fill(disk, spare=0)
    said = fails(capsys, *FIT)
    assert "no space is left for disk/runs/good/1/config.yaml" in said
    assert "Free some and run the command again" in said


@pytest.mark.slow
def test_full_at_a_checkpoint_loses_neither_the_old_one_nor_the_way_on(disk, capsys, monkeypatch):
    assert main([*FIT]) == 0
    files = [disk / f"runs/good/1/checkpoints/{name}.ckpt" for name in ("best", "last")]
    before = [file.read_bytes() for file in files]
    fill(disk, spare=len(before[1]) // 2)
    more = ["--runs", "disk/runs", "--ckpt_path", "last", "--trainer.max_epochs", "3"]
    said = fails(capsys, "fit", *more)
    assert "no space is left for " in said
    assert ".ckpt" in said
    for file in files:
        load_checkpoint(file)
    assert files[1].read_bytes() == before[1]
    (disk / "ballast").unlink()
    assert not [file for file in disk.rglob(".*") if file.is_file()], "a draft was left"
    advised = said.strip().rpartition("ner-lightning ")[2]
    assert main([*shlex.split(advised), "--trainer.max_epochs", "3"]) == 0
    assert load_checkpoint(files[1])["epoch"] == 2


def test_full_where_predictions_go(disk, capsys):
    assert main(["fit", "--config", "good.yaml"]) == 0
    Path("text.txt").write_text("Vera Holt left Lima .\n" * 400, encoding="utf-8")
    for name in ("out.jsonl", "out.conll"):
        (disk / name).write_text("old\n", encoding="utf-8")
        fill(disk, spare=4096)
        said = fails(capsys, "predict", "--input", "text.txt", "--output", f"disk/{name}")
        assert f"no space is left for disk/{name}" in said
        (disk / "ballast").unlink()
        assert (disk / name).read_text(encoding="utf-8") == "old\n"
        assert not list(disk.glob(".*"))


@pytest.mark.slow
def test_locked(disk, capsys, monkeypatch):
    assert main([*FIT]) == 0
    lock(disk)
    assert "disk/runs/good cannot be written: Read-only file system" in fails(capsys, *FIT)
    said = fails(capsys, "test", "--runs", "disk/runs")
    assert "cannot be written" in said
    assert "--ckpt_path" in said
    Path("text.txt").write_text("Vera left .\n", encoding="utf-8")
    words = ("--runs", "disk/runs", "--input", "text.txt", "--output")
    assert "no file can be written there" in fails(capsys, "predict", *words, "disk/out.jsonl")
    assert main(["predict", *words, "out.jsonl"]) == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_destination_of_a_copy_is_what_is_full(number):
    error = OSError(number, os.strerror(number), "/tmp/source", None, "runs/x/1/best.ckpt")
    assert "no space is left for runs/x/1/best.ckpt" in str(explain_disk_error(error, "fit"))
    assert "no space is left for " in str(explain_disk_error(OSError(number, ""), "fit"))


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "{}", "--text", "x"],
        ["predict", "--input", "{}"],
        ["test", "{}"],
        ["fit", "--config", "{}"],
        ["fit", "--config", "quickstart", "--data.dataset", "{}"],
        ["report", "{}"],
        ["data", "check", "{}"],
    ],
)
def test_a_text_in_the_place_of_a_name(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    text = "Vera Holt left Lima. " * 20
    assert main([word.format(text) for word in words]) == 2
    error = capsys.readouterr().err
    assert "is longer than a name of a file can be; predict takes a text as --text" in error
    assert error.count("\n") <= 3


def test_other_errors_are_bugs():
    assert explain_disk_error(OSError(errno.EIO, "broken"), "fit") is None
    assert explain_disk_error(PermissionError(errno.EACCES, "no"), "fit") is None  # of no file: a bug of ours
    assert explain_disk_error(ValueError("x"), "fit") is None


@pytest.mark.parametrize(
    ("command", "kept", "advised"),
    [
        ("fit", True, "resume with: ner-lightning fit runs/x/1"),
        ("pretrain", True, "resume with: ner-lightning pretrain --run runs/x/1"),
        ("fit", False, "run the command again"),
        ("test", True, "run the command again"),  # a trained run is not to be trained further
    ],
)
def test_the_way_on_is_that_of_the_command(tmp_path, monkeypatch, command, kept, advised):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NER_LIGHTNING_RUN", "runs/x/1")
    Path("runs/x/1/checkpoints").mkdir(parents=True)
    if kept:
        Path("runs/x/1/checkpoints/last.ckpt").touch()
    said = str(explain_disk_error(OSError(errno.ENOSPC, "", "runs/x/1/metrics.json"), command))
    assert said.splitlines()[1].startswith("Free some")
    assert advised in said
