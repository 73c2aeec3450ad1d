"""A service does not grow: kernels are forgotten, and memory that was freed goes back to the system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ner_lightning.serving.memory import CACHES

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


# What kernels for three hundred shapes of matrices take, in bytes of code.
KERNELS = """
import re, sys
if sys.argv[1] == "few":
    from ner_lightning.serving.memory import limit_kernel_caches
    limit_kernel_caches()
import torch
weight = torch.ones(64, 64, dtype=torch.bfloat16)
with torch.inference_mode():
    for rows in range(2, 302):
        torch.nn.functional.linear(torch.ones(rows, 64, dtype=torch.bfloat16), weight)
spaces = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rwxp", open("/proc/self/maps").read(), flags=re.M)
print(sum(int(end, 16) - int(start, 16) for start, end in spaces))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads what Linux says of memory")
def test_kernels_of_other_shapes_are_forgotten():
    def code(kept):
        words = [sys.executable, "-c", KERNELS, kept]
        env = {name: value for name, value in os.environ.items() if name not in CACHES}  # of tests of `serve`
        return int(subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout)

    assert code("few") <= max(code("all") / 2, 4_000_000)  # some processors need no kernels of their own
