"""Several workers: all of them answer, a dead one is replaced, all stop when told to."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from services import ask, metrics, served
from untrained import write_checkpoint

from ner_lightning.serving.workers import Workers, _run_worker
from ner_lightning.system.child_process import WORKER

TEXT = "Vera Holt left Lima. " * 10


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, llama):
    return write_checkpoint(tmp_path_factory.mktemp("workers"), llama)


def workers_of(process):
    """The process ids in the lines about requests."""
    return {int(pid) for pid in re.findall(r"^\S+ \S+ (\d+) \w+ POST ", "".join(process.said), flags=re.M)}


def until_workers(process, address, count, without=frozenset()):
    """Sends requests until so many workers have answered; their process ids, and how many were sent."""
    deadline, sent = time.monotonic() + 60, 0
    while time.monotonic() < deadline:
        with ThreadPoolExecutor(8) as pool:
            sent += len(list(pool.map(lambda _: ask(address, {"text": TEXT}), range(8))))
        found = workers_of(process) - without
        if len(found) == count:
            return found, sent
    raise AssertionError("".join(process.said))


@pytest.mark.slow
def test_workers_share_the_port_count_together_are_replaced_and_stop(checkpoint):
    with served(checkpoint, "--workers", "2", "--log_requests") as (process, address):
        first, asked = until_workers(process, address, 2)
        assert process.pid not in first
        assert f'ner_requests_total{{status="200"}} {asked}.0\n' in metrics(address)
        assert "ner_waiting_requests 0.0\n" in metrics(address)
        dead = min(first)
        os.kill(dead, signal.SIGKILL)
        assert len(until_workers(process, address, 2, without={dead})[0]) == 2
        assert "A worker ended with code -9; another one starts.\n" in process.said
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(ask, address, {"texts": [TEXT * 10] * 3}) for _ in range(4)]
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            assert all(len(call.result()["results"]) == 3 for call in calls)
        assert process.wait(timeout=60) == 0
        with pytest.raises(urllib.error.URLError, match="refused"):
            ask(address, None, "/health")


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(checkpoint):
    with served(checkpoint, "--workers", "2") as (process, address):
        process.kill()
        process.wait()
        deadline, answers = time.monotonic() + 30, True
        while answers and time.monotonic() < deadline:
            try:
                ask(address, None, "/health")
                time.sleep(0.1)
            except (urllib.error.URLError, ConnectionError):
                answers = False
        assert not answers, "somebody still answers"


@pytest.mark.slow
def test_a_mistake_is_told_once_and_ends_all():
    command = [sys.executable, "-m", "ner_lightning", "serve", "nowhere", "--port", "0", "--workers", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("no run folder or checkpoint nowhere") == 1
    assert "Traceback" not in done.stderr


class _Started:
    """A process that only keeps what it was given."""

    def __init__(self, target, args):
        self.args, self.exitcode, self.pid = args, None, 0

    def start(self):
        pass

    def join(self):
        pass


def test_each_worker_has_a_number_by_which_it_takes_a_gpu(monkeypatch):
    workers = Workers(print, (), 3, 1.0)
    monkeypatch.setattr(workers._context, "Process", _Started, raising=False)
    monkeypatch.setattr("ner_lightning.serving.workers._forget_counts", lambda _: None)
    for _ in range(3):
        workers._workers.append(workers._start())
    assert [each.process.args[2] for each in workers._workers] == [0, 1, 2]
    dead = workers._workers[1]
    dead.process.exitcode = 1
    assert workers._look() == [dead]
    assert workers._start().process.args[2] == 1


def test_a_worker_finds_its_number_in_its_environment(monkeypatch):
    monkeypatch.setenv(WORKER, "none")
    monkeypatch.setattr("ner_lightning.system.child_process.threading.Thread", mock.Mock())
    monkeypatch.setattr("ner_lightning.system.child_process.signal.signal", mock.Mock())
    seen = []
    _run_worker(lambda given, on_start: seen.append((given, os.environ[WORKER])), ("it",), 2, mock.Mock())
    assert seen == [("it", "2")]
