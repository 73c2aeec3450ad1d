"""Every stage of a command shows where it is: in a log file with lines, in a terminal with bars as well."""

import os
import pty
import re
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import tiny
import yaml
from hub_server import HubServer

from ner_lightning.commands.main import main
from ner_lightning.inference.ner_tagger import NERTagger
from ner_lightning.system import progress

STAGES = re.compile(r"^(\w+)\b.* \.\.\.$", flags=re.M)


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory, llama):
    folder = tmp_path_factory.mktemp("progress")
    config = {
        "trainer": {"accelerator": "cpu", "max_epochs": 2},
        "model": {"backbone": str(llama), "lora": {"rank": 2}},
        "data": {"dataset": str(tiny.write_corpus(folder / "data")), "batches": {"size": 8}},
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "text.txt").write_text("Vera Holt left Lima .\nNobody answered .\n", encoding="utf-8")
    return folder


@pytest.fixture
def command(small_folder, monkeypatch, capsys):
    """Runs a command and returns what it wrote to standard output and error."""
    monkeypatch.chdir(small_folder)
    monkeypatch.setattr(progress, "SLOW", 300.0)  # however busy the machine is

    def run(*words):
        capsys.readouterr()
        assert main(list(words)) == 0
        return capsys.readouterr()

    if not (small_folder / "runs").exists():
        run("fit", "--config", "small.yaml")
    return run


@pytest.mark.slow
def test_stages_in_a_log_file(command):
    said = command("fit", "--config", "small.yaml").out
    assert STAGES.findall(said) == ["Reading", "Reading", "Tokenising", "Loading"]
    assert "Tokenising 34 sentences ..." in said
    assert [line.split()[0] for line in said.splitlines() if re.match(r" +\d/2 ", line)] == ["1/2", "2/2"]
    assert "Best epoch: " in said
    assert "next: ner-lightning test" in said
    stages = ["Reading", "Tokenising", "Loading"]
    assert STAGES.findall(command("test").out) == [*stages, "Testing"]
    assert STAGES.findall(command("validate").out) == [*stages, "Validating"]


def test_the_result_of_predict_stays_alone_on_standard_output(command):
    said = command("predict", "--text", "Vera Holt left Lima .")
    assert said.out.count("\n") == 1
    assert STAGES.findall(said.err) == ["Loading", "Tagging"]


def test_long_loops_say_how_far_they_are(command, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    said = command("fit", "--config", "small.yaml").out
    assert "train sentences tokenised: 32 of 32, less than a minute left" in said
    assert "epoch 2: batches: 3 of 4, less than a minute left" in said
    assert "validation batches: 1 of 1" in said
    assert "test batches: 1 of 1" in command("test").out
    said = command("predict", "--input", "text.txt", "--output", "out.jsonl").err
    assert re.search(r"^2 texts, \d+ words tagged, 100% of the input, [\d,]+ words/s$", said, flags=re.M)


def test_the_loss_of_an_epoch_is_the_mean_of_its_batches(command, monkeypatch, small_folder):
    from ner_lightning.training.module import NERModule

    losses, step = [], NERModule.training_step

    def noted(self, batch):
        loss = step(self, batch)
        losses.append(float(loss["shown"]))
        return loss

    monkeypatch.setattr(NERModule, "training_step", noted)
    said = command("fit", "--config", "small.yaml", "--trainer.max_epochs", "1").out
    (line,) = (line for line in said.splitlines() if re.match(r" +1/1 ", line))
    assert len(losses) == 4
    assert float(line.split()[1]) == pytest.approx(sum(losses) / 4, abs=1e-4)


def test_the_package_without_its_command_line_is_silent(command, small_folder, capsys):
    capsys.readouterr()
    NERTagger.from_run()(words=[["Vera", "left"]])
    assert capsys.readouterr() == ("", "")


def test_only_the_first_of_several_ranks_speaks(monkeypatch, capsys):
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.setenv(name, "1")
        with progress.printed("stdout"):
            progress.stage("not shown")
        monkeypatch.setenv(name, "0")
        with progress.printed("stdout"):
            progress.stage(f"shown {name}")
        monkeypatch.delenv(name)
    assert capsys.readouterr().out.split("\n")[:-1] == [
        "shown RANK",
        "shown LOCAL_RANK",
        "shown SLURM_PROCID",
    ]


def in_terminal(folder, *words, env=None):
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 100))  # a bar in no columns is not drawn
    command = [sys.executable, "-m", "ner_lightning", *words]
    streams = {"stdin": subprocess.DEVNULL, "stdout": theirs, "stderr": theirs}
    child = subprocess.Popen(command, env=env, cwd=folder, **streams)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the child has closed its end
            break
        seen += part
    os.close(ours)
    assert child.wait(timeout=60) == 0, seen[-3000:]
    return seen.decode()


@pytest.mark.slow
def test_bars_in_a_terminal(small_folder, llama, tmp_path):
    with HubServer() as hub:
        files = {path.name: path.read_bytes() for path in llama.iterdir()}
        hub.add_repo("models", "lab/tiny", files)
        env = hub.env(tmp_path / "home", NETRC=str(tmp_path / "netrc"))
        del env["HF_HUB_DISABLE_PROGRESS_BARS"]
        words = ["fit", "--config", str(small_folder / "small.yaml"), "--model.backbone", "lab/tiny"]
        text = in_terminal(tmp_path, *words, env=env)
    assert "Loading lab/tiny, downloading what the cache lacks ..." in text
    assert re.search(r"model.safetensors: +\d+%", text), "the download had no bar"
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)  # without colours and moves
    assert re.search(r"epoch +loss +val loss", plain), "the live table had no head"
    assert re.search(r"step 8 of 8 · best F1 0\.\d{4}", plain)
    assert not re.search(r"Warning|Traceback", text)
    Path(tmp_path / "terminal.txt").write_text(text, encoding="utf-8")


def test_a_stage_is_named_only_if_it_is_slow(caplog, monkeypatch):
    caplog.set_level("INFO", logger="ner_lightning")
    with progress.stage_if_slow("quick"):
        pass
    assert caplog.messages == []
    monkeypatch.setattr(progress, "SLOW", 0.01)
    with progress.stage_if_slow("slow"):
        time.sleep(0.2)
    assert caplog.messages == ["slow"]


@pytest.mark.slow
def test_no_bar_stays_in_a_terminal(command, small_folder):
    text = in_terminal(small_folder, "test")
    assert "Testing DataLoader 0: 100%" in text
    lines = re.sub(r"[^\n]*\r(?!\n)", "", text).splitlines()  # what is left of each line
    assert not [line for line in lines if "%|" in line]
    assert any(line.startswith("test entities") for line in lines)
