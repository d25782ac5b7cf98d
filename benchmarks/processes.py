"""Processes of a benchmark: servers that end with it, and children whose CPU and memory are measured."""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
_AS_IN_THE_IMAGE = {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_PROVIDED_BYTES = 3 << 30
"""More than a measured process and the page cache of its scratch file take."""
_PROVIDE = """
import mmap, os, sys
free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
mmap.mmap(-1, min(int(sys.argv[1]), free // 2), flags=flags)
"""
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""getrusage gives ru_maxrss in bytes on macOS, in KiB elsewhere."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its address, the facts that it printed when it was ready, and its process id.

    `control`: its address for questions outside the protocol, where that is another.
    """

    url: str
    facts: dict[str, Any]
    pid: int
    control: str = ""

    @property
    def plain(self) -> str:
        """The address of the server itself."""
        return self.control or self.url

    def ask(self, path: str) -> dict[str, Any]:
        """A question outside the protocol, e.g. `rows/bucket/prefix`."""
        with urlopen(f"{self.plain}/-/{path}", timeout=300) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer


@dataclass(frozen=True, slots=True)
class Usage:
    """What the operating system counted of a process that has ended, its threads included.

    `steady_rss`: the median of what it held in the second half of its life; not a number where there is no /proc.
    """

    user_s: float
    system_s: float
    wall_s: float
    peak_rss: int
    steady_rss: float = math.nan

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s


class Failed(Exception):
    """A measured process did not end well; the message holds the end of what it wrote."""


def environment(extra: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The caller's, without its AWS and Vortex settings, and with what the Dockerfile tells C libraries, and `extra`.

    An installed program has its bytecode, so a process of a benchmark may keep it.
    """
    left_out = ("AWS_", "VORTEX_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, **_CREDENTIALS, **_AS_IN_THE_IMAGE, **extra}


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stay_on_one() -> bool:
    """Keep this process, and all that it starts, to one processor. False where the system knows no such thing.

    Processors are often threads of a core, which take more CPU time for the same work while both are busy.
    """
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return True


def provide_memory() -> None:
    """Touch memory and give it back, so that the next process does not pay for what the host does.

    A virtual machine gets a page of memory from its host when it is first used, and may lose it again while it is
    free. That takes ten times as long as the rest of a first use, and counts for whichever process comes first: a
    second for half a GiB was seen. A process of its own does it, as the peak of a process counts for its children.
    """
    if hasattr(mmap, "MAP_POPULATE"):  # on Linux
        subprocess.run([sys.executable, "-c", _PROVIDE, str(_PROVIDED_BYTES)], check=True)


@contextlib.contextmanager
def server(module: str, *arguments: str, extra: Mapping[str, str] = MappingProxyType({})) -> Iterator[Server]:
    """`python -m module`, until the block ends; its one line on stdout says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(extra),
        cwd=ROOT,
    )
    assert process.stdin and process.stdout
    try:
        line = process.stdout.readline()
        if not line:
            raise Failed(f"{module} ended with code {process.wait()} before it was ready")
        facts = json.loads(line)
        yield Server(f"http://127.0.0.1:{facts['port']}", facts, process.pid)
    finally:
        process.stdin.close()  # which ends it
        process.stdout.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measured(
    command: list[str],
    log: Path,
    *,
    stop_after_s: float | None = None,
    stop_when: Callable[[], bool] = lambda: False,
    limit_s: float = 1800,
    cwd: Path = ROOT,
    extra: Mapping[str, str] = MappingProxyType({}),
) -> Usage:
    """Run `command` to its end and ask the operating system what it, and whom it started, took. Raises Failed.

    `stop_after_s`: SIGTERM after so long; `stop_when`: as soon as this holds, asked every quarter of a second.
    Standard output and error go to the file `log`. `extra` is added to the environment.
    """
    provide_memory()
    with log.open("wb") as sink:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment(extra), cwd=cwd
        )
        timers = [threading.Timer(limit_s, os.kill, (process.pid, signal.SIGKILL))]
        if stop_after_s is not None:
            timers.append(threading.Timer(stop_after_s, os.kill, (process.pid, signal.SIGTERM)))
        for timer in timers:
            timer.daemon = True
            timer.start()
        held: list[int] = []
        ended = threading.Event()
        watching = threading.Thread(target=_watch, args=(process.pid, ended, held, stop_when), daemon=True)
        watching.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - begun
        ended.set()
        watching.join()
        for timer in timers:
            timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        end = log.read_text("utf-8", "replace")[-2000:]
        raise Failed(f"{' '.join(command)} ended with code {process.returncode}:\n{end}")
    steady = median(held[len(held) // 2 :]) if held else math.nan
    return Usage(used.ru_utime, used.ru_stime, wall, used.ru_maxrss * _RSS_UNIT, steady)


def _watch(pid: int, ended: threading.Event, held: list[int], stop_when: Callable[[], bool]) -> None:
    """Note what the process holds, four times a second; stop it when it is time."""
    pages, asked = Path(f"/proc/{pid}/statm"), False
    while not ended.wait(0.25):
        with contextlib.suppress(OSError, IndexError):  # no /proc, or the process has just gone
            held.append(int(pages.read_text().split()[1]) * resource.getpagesize())
        if not asked and stop_when() and not ended.is_set():
            asked = True
            os.kill(pid, signal.SIGTERM)
