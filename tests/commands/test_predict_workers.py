"""`predict --workers N`: the same bytes as one process, whatever happens to a worker."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import taggers
import torch
from shared import stop_with_ctrl_c, stopping
from untrained import write_checkpoint

from ner_lightning.commands import main as command
from ner_lightning.commands.lightning_cli import preflight
from ner_lightning.commands.main import main
from ner_lightning.errors import UserError
from ner_lightning.inference import block_pool, bulk, worker_pool
from ner_lightning.inference.result import Tagged
from ner_lightning.inference.worker_pool import WorkerPool
from ner_lightning.model import devices
from ner_lightning.system import child_process
from ner_lightning.system.child_process import cores_each, end_of
from ner_lightning.system.out_of_memory import out_of_memory

LINES = 24  # in blocks of 3
STREAMED = ["out.jsonl", "out.csv", "out.conll", "out.txt --to text", "out.parquet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, llama):
    """A tagger, and texts of which one cannot be read."""
    folder = tmp_path_factory.mktemp("workers")
    path = write_checkpoint(folder, llama, peft="lora", lora={"rank": 2})
    held = torch.load(path, weights_only=True)
    torch.manual_seed(0)
    for key, value in held["state_dict"].items():
        torch.nn.init.normal_(value, std=0.3 if "lora" not in key else 0.1)
    torch.save(held, folder / "a.ckpt")
    lines = (taggers.texts() * 3)[: LINES - 1]
    lines.insert(7, "\udce9")
    (folder / "in.txt").write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _workers_start_at_once():
    """Workers are forked from a process that has imported everything, and computed nothing."""
    multiprocessing.set_forkserver_preload(["ner_lightning.inference.ner_tagger", "peft", "transformers"])
    before, worker_pool.START = worker_pool.START, "forkserver"
    yield
    worker_pool.START = before


@pytest.fixture
def predict(folder, tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder, in blocks of three texts; returns what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bulk, "BLOCK_RECORDS", 3)
    Path("in.txt").write_bytes((folder / "in.txt").read_bytes())

    def call(*words, code=0):
        capsys.readouterr()
        assert main(["predict", str(folder / "a.ckpt"), *words]) == code
        assert not multiprocessing.active_children()
        return capsys.readouterr()

    return call


def files():
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.name != "in.txt"}


@pytest.mark.parametrize("name", STREAMED)
def test_two_workers_write_the_bytes_of_one(predict, name):
    words = ("--input", "in.txt", "--output", *name.split(), "--min_score", "0.2")
    predict(*words)
    alone = files()
    assert len(alone) == 2, "the output and the rejects"
    for file in alone:
        Path(file).unlink()
    said = predict(*words, "--workers", "2").err
    assert files() == alone
    assert f"{LINES - 1} texts, " in said
    assert said.count("Loading") <= 1


def test_blocks_go_to_standard_output_in_order(predict):
    rows = predict("--input", "in.txt", "--output", "-", "--workers", "3").out.splitlines()
    assert [json.loads(row)["line"] for row in rows] == [n for n in range(1, LINES + 1) if n != 8]


@pytest.mark.parametrize(("first", "then"), [("2", "3"), ("1", "2")])
def test_a_stopped_command_goes_on_with_another_number_of_workers(predict, monkeypatch, first, then):
    words = ("--input", "in.txt", "--output", "out.jsonl")
    predict(*words)
    whole = files()
    for file in whole:
        Path(file).unlink()
    with monkeypatch.context() as patched:
        stopping(patched, 3, stop_with_ctrl_c)
        assert "out.jsonl.partial holds 9 texts" in predict(*words, "--workers", first, code=130).err
    assert "Resuming after 9 texts" in predict(*words, "--workers", then).err
    assert files() == whole


def test_a_worker_that_is_killed_names_itself_and_loses_nothing_written(predict, monkeypatch):
    words = ("--input", "in.txt", "--output", "out.jsonl")
    predict(*words)
    whole = files()
    for file in whole:
        Path(file).unlink()

    def kill():
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    with monkeypatch.context() as patched:
        stopping(patched, 2, kill)
        said = predict(*words, "--workers", "2", code=2).err
    assert " of 2 (process " in said
    assert ") was ended by SIGKILL, as when memory runs out;\nif memory ran out, give fewer" in said
    written = Path("out.jsonl.partial").read_bytes()
    assert whole["out.jsonl"].startswith(written)
    assert len(written.splitlines()) >= 6
    predict(*words, "--workers", "2")
    assert files() == whole


def test_a_text_that_cannot_be_read_ends_the_command_after_those_before_it(predict):
    words = ("--input", "in.txt", "--output", "out.jsonl", "--strict", "--workers", "2")
    assert "in.txt:8: byte 0xe9" in predict(*words, code=2).err
    assert len(Path("out.jsonl.partial").read_bytes().splitlines()) == 6


def test_a_tagger_that_cannot_be_loaded_is_said_once(predict, folder, capsys):
    (folder / "b.ckpt").write_bytes(b"no checkpoint")
    words = ("--run", str(folder / "b.ckpt"), "--input", "in.txt", "--output", "out.jsonl")
    command = ["predict", *words, "--workers", "2"]
    capsys.readouterr()
    assert main(command) == 2
    assert capsys.readouterr().err.count("b.ckpt is not a complete checkpoint") == 1
    assert not list(Path().glob("out.jsonl*"))


def test_the_others_take_the_temperature_that_the_first_one_finds(predict, folder):
    words = ("--input", "in.txt", "--output", "out.jsonl", "--calibrate", "gold.conll")
    Path("gold.conll").write_text("Vera B-PER\nleft O\nLima B-LOC\n\nNobody O\nleft O\n", encoding="utf-8")
    predict(*words)
    alone = files()
    Path("out.jsonl").unlink()
    predict(*words, "--workers", "2")
    assert files() == alone


def broken(number, temperature):
    raise ValueError(f"worker {number} has a bug")


@pytest.mark.slow
def test_a_bug_in_a_worker_keeps_its_traceback():
    with (
        WorkerPool(broken, 1) as pool,
        pytest.raises(RuntimeError, match="worker 1 of 1:") as caught,
    ):
        pool.start()
    assert "Traceback" in str(caught.value)
    assert "ValueError: worker 0 has a bug" in str(caught.value)
    assert not multiprocessing.active_children()


def without_memory(number, temperature):
    raise MemoryError


@pytest.mark.slow
def test_memory_that_runs_out_in_a_worker_is_no_bug():
    with WorkerPool(without_memory, 1) as pool, pytest.raises(RuntimeError) as caught:
        pool.start()
    assert out_of_memory(caught.value) == "CPU"


MISTAKES = {
    "no worker": (["--workers", "0"], "--workers is 0; it must be a whole number of at least 1"),
    "fewer": (["--workers", "-2"], "--workers is -2; it must"),
    "no number": (["--workers", "all"], "--workers"),
    "the most uncertain": (["--workers", "2", "--most_uncertain", "3"], "compares all texts, in one process"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(predict, case):
    words, expected = MISTAKES[case]
    said = predict("--input", "in.txt", "--output", "out.jsonl", *words, code=2).err
    assert expected in said
    assert "Loading" not in said
    assert not list(Path().glob("out*"))


def test_a_text_on_the_command_line_has_one_worker(predict):
    said = predict("--text", "Vera left .", "--workers", "2", code=2).err
    assert "--workers has no effect here: it is for files: --input FILE; leave it out" in said


def without_a_model(number, temperature):
    return bulk.BlockTagger(Nothing(), no_lines)


def no_lines(record, tagged):
    return ""


class Nothing:
    """A tagger that finds nothing."""

    labels = taggers.LABELS
    temperature = 1.0

    def tag(self, documents, numbers):
        return [Tagged(document, ("O",) * sum(map(len, document.words)), ()) for document in documents]


class Slow(Nothing):
    """A tagger that does not get done."""

    def tag(self, documents, numbers):
        time.sleep(60)


def slow(number, temperature):
    return bulk.BlockTagger(Slow(), no_lines)


@pytest.mark.parametrize(("make", "code"), [(without_a_model, 0), (slow, 128 + signal.SIGTERM)])
def test_workers_free_what_they_have_of_the_system(make, code):
    """Python warns of semaphores that a process did not free, which a signal ended."""
    with WorkerPool(make, 2) as pool:
        pool.start()
        while not all(each.facts for each in pool._workers):
            pool.receive()
        for number in range(2 if code else 0):
            pool.send(number, [bulk.Record("x", 1, "Vera Holt left Lima.")])
        processes = multiprocessing.active_children()
    assert [each.exitcode for each in processes] == [code, code]


@pytest.mark.slow
def test_memory_holds_a_bounded_number_of_blocks():
    read = []

    def blocks():
        for number in range(40):
            read.append(number)
            yield [bulk.Record("x", number, "Vera Holt left Lima.")]

    with WorkerPool(without_a_model, 2) as pool:
        pool.start()
        for done, _ in enumerate(block_pool.tag_in_order(pool, blocks())):
            assert len(read) <= done + 2 * block_pool.IN_FLIGHT


def test_a_cuda_gpu_for_each_worker_in_turn(monkeypatch):
    def device(asked, number):
        monkeypatch.setenv("NER_LIGHTNING_WORKER", str(number))
        return devices.chosen_device(asked)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    assert [device(None, number) for number in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert device("cuda", 1) == "cuda:1"
    assert device("cuda:0", 1) == "cuda:0"
    assert device("cpu", 1) == "cpu"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 8),
        ({"cpu.max": "unreadable"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_a_container_s_quota_of_cores_counts(monkeypatch, tmp_path, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(child_process, "CONTROL", tmp_path)
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cores_each(1) == cores
    threads = []
    monkeypatch.setattr(command, "_run", lambda *_: threads.append(os.environ.get("OMP_NUM_THREADS")))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert main(["predict"]) == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # a user's own
    assert main(["predict"]) == 0
    assert threads == [str(cores) if cores < 8 else None, "3"]
    preflight._devices(cores, "cpu")
    with pytest.raises(UserError, match=f"this machine has {cores} CPU cores? for it"):
        preflight._devices(cores + 1, "cpu")


def test_cores_are_divided(monkeypatch, tmp_path):
    monkeypatch.setattr(child_process, "CONTROL", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [cores_each(count) for count in (1, 2, 3, 16)] == [8, 4, 2, 1]
    assert end_of(3) == "ended with exit code 3"
    assert end_of(-signal.SIGTERM) == "was ended by SIGTERM"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_all_processes(folder, tmp_path, number):
    lines = (folder / "in.txt").read_bytes().splitlines(keepends=True)
    (tmp_path / "in.txt").write_bytes(b"".join(lines[:7]) * 20_000)
    words = ["--input", "in.txt", "--output", "out.jsonl", "--workers", "2"]
    command = [sys.executable, "-m", "ner_lightning", "predict", str(folder / "a.ckpt"), *words]
    env = os.environ | {"PYTHONFAULTHANDLER": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "out.jsonl.partial.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    # Ctrl-C reaches the whole group; SIGKILL the first process alone.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    try:
        code = process.wait(30)
    except subprocess.TimeoutExpired:  # says where it waits
        process.send_signal(signal.SIGABRT)
        pytest.fail(process.communicate(timeout=30)[1].decode())
    assert code == (130 if number == signal.SIGINT else -number)
    process.stderr.close()
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a worker is left")
