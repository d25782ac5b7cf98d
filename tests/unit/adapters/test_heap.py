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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_use_one_heap_makes_all_threads_share_one_heap() -> None:
    def heaps(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == {"one": "True", "usual": "None"}[how]
        return done.stderr.count("Arena ")

    assert heaps("one") == 1
    assert heaps("usual") > 1
