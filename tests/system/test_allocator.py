"""Freed memory is kept during a training, and given back afterwards, where the C library is glibc."""

import platform
import subprocess
import sys

import pytest

from ner_lightning.system.allocator import keep_freed_memory, return_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"
# Blocks of 40 MB, which glibc would map and unmap by themselves, freed in the order of a stack.
RESIDENT = """
import sys
from ner_lightning.system.allocator import keep_freed_memory, return_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

keep_freed_memory()
blocks = [bytearray(b"x") * (40 * 2**20) for _ in range(5)]
while blocks:
    blocks.pop()
kept = resident()
return_freed_memory()
print(kept, resident())
"""


def test_it_is_kept_where_the_c_library_is_glibc():
    assert keep_freed_memory() == GLIBC
    return_freed_memory()


@pytest.mark.skipif(not GLIBC, reason="another C library")
def test_it_is_given_back():
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    kept, after = map(float, done.stdout.split())
    assert kept > 150
    assert after < kept - 100
