"""A training in a process of its own hears each signal once."""

import os
import signal
import subprocess
import sys

import pytest

CHILD = """
import signal, time
heard = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: heard.append(signal.Signals(number).name))
print("ready", flush=True)
until = time.monotonic() + 20
while not heard and time.monotonic() < until:
    time.sleep(0.01)
time.sleep(0.3)
print(heard, flush=True)
"""
PARENT = f"""
import signal, subprocess, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # tests in the background of a shell, or by nohup, ignore some
from ner_lightning.commands.lightning_cli.training_process import started
with started([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE) as process:
    for line in process.stdout:
        print(line, end="", flush=True)
print("ended", process.returncode)
"""


@pytest.mark.parametrize(
    ("number", "heard"), [(signal.SIGINT, "SIGINT"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGTERM")]
)
def test_a_signal_to_the_group_is_heard_once(number, heard):
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        os.killpg(parent.pid, number)  # as a terminal does
        assert parent.stdout.read() == f"['{heard}']\nended 0\n"
    assert parent.returncode == 0
