"""The C library's heap."""

import platform
import subprocess
import sys

import pytest

# How many heaps glibc has after four threads allocated: `malloc_stats` prints one "Arena" a heap.
_PROGRAM = """
import ctypes, sys, threading
from vortex.adapters.heap import use_one_heap
print(use_one_heap() if sys.argv[1] == "one" else None, flush=True)
libc = ctypes.CDLL(None)
gate = threading.Barrier(4)
def work():
    gate.wait()
    libc.malloc(100_000)
    gate.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
libc.malloc_stats()
"""

# Memory of the process, in MiB: after freeing all small blocks but the last, and after `trim`.
_TRIMMED = """
import ctypes
from pathlib import Path
from vortex.adapters.heap import trim
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(60_000) for _ in range(2000)]
for block in blocks:
    ctypes.memset(block, 1, 60_000)
def held():
    print(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20)
held()
for block in blocks[:-1]:
    libc.free(block)
held()
trim()
held()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the call is glibc's")
def test_trim_gives_free_memory_in_the_middle_of_the_heap_back() -> None:
    done = subprocess.run([sys.executable, "-c", _TRIMMED], capture_output=True, text=True, check=True)
    full, freed, trimmed = map(float, done.stdout.split())
    assert full - freed < 10
    assert freed - trimmed > 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_use_one_heap_makes_all_threads_share_one_heap() -> None:
    def heaps(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == {"one": "True", "usual": "None"}[how]
        return done.stderr.count("Arena ")

    assert heaps("one") == 1
    assert heaps("usual") > 1
