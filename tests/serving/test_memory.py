"""Memory that was freed goes back to the system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Small blocks, all freed but the last: what glibc keeps without being told.
CODE = """
import ctypes, sys
from ner_lightning.serving.memory import Trimmer
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
blocks = [libc.malloc(100_000) for _ in range(1000)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:
    libc.free(block)
held, trim = resident(), Trimmer()
trim()
first = resident()
assert held - first > 80_000_000, (held, first)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists() or sys.platform != "linux", reason="glibc's")
def test_what_is_freed_is_given_back():
    done = subprocess.run([sys.executable, "-c", CODE], env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
