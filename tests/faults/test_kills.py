"""SIGKILL at any moment, and the continued run ends as if it had never been killed."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_ten_kills():
    script = Path(__file__).parent / "kills.py"
    done = subprocess.run([sys.executable, script, "--kills", "10"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "10 of 10 identical" in done.stdout
