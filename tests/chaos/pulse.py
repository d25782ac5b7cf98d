"""Measures workers from a separate process: how long `/livez` did not answer, and how much memory they used.

Commands come on standard input, one a line: `watch NAME PORT PID`, `leave NAME`. At its end the figures are printed as
JSON. Only silence that a worker causes counts: the time in which the kernel let the worker's loop wait for a
processor (`schedstat`), or this process (a sleeper beside it tells how much too late it woke), is subtracted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

EVERY_S = 0.05
_PATIENCE_S = 120
_NOTED_S = 0.5
_SLEEP_S = 0.01


@dataclass
class Felt:
    """The figures of one name, over all its processes, in seconds and MiB."""

    polls: int = 0
    silent_s: float = 0.0
    """The longest silence that the worker itself caused."""
    silent_raw_s: float = 0.0
    """The longest silence, whatever caused it."""
    peak_mib: float = 0.0
    rises: list[tuple[float, float]] = field(default_factory=list)
    """When (epoch) the peak rose, and to which value."""
    longest: list[tuple[float, float, float]] = field(default_factory=list)
    """Silences of half a second or more: when (epoch), how long, and how much of it the worker caused."""


class _Sleeper(threading.Thread):
    """Sleeps, and records how late it wakes up."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._late: deque[tuple[float, float]] = deque(maxlen=30_000)

    def run(self) -> None:
        while True:
            before = time.monotonic()
            time.sleep(_SLEEP_S)  # measures how late it wakes up
            now = time.monotonic()
            self._late.append((now, now - before - _SLEEP_S))

    def late(self, begin: float, end: float) -> float:
        """The maximum between two moments."""
        return max((by for at, by in list(self._late) if begin <= at and at - by <= end), default=0.0)


class _Watch(threading.Thread):
    """One process while it is watched."""

    def __init__(self, felt: Felt, port: int, pid: int, sleeper: _Sleeper) -> None:
        super().__init__(daemon=True)
        self._felt, self._port, self._pid, self._sleeper = felt, port, pid, sleeper
        self.left = threading.Event()
        self._client: HTTPConnection | None = None

    def run(self) -> None:
        while not self._ask() and not self.left.wait(EVERY_S):
            pass  # still starting: silence counts from the first answer on
        begin, waited = time.monotonic(), self._waited()
        while not self.left.wait(EVERY_S):
            self._memory()
            if not self._ask():
                if not self.left.is_set() and time.monotonic() - begin > _PATIENCE_S:
                    break
                continue
            now, delayed = time.monotonic(), self._waited()
            self._note(begin, now, delayed - waited)
            begin, waited = now, delayed
        self._memory()

    def _note(self, begin: float, now: float, delayed: float) -> None:
        felt = self._felt
        felt.polls += 1
        raw = max(0.0, now - begin - EVERY_S)
        felt.silent_raw_s = max(felt.silent_raw_s, raw)
        if raw < _NOTED_S:
            felt.silent_s = max(felt.silent_s, raw)
            return
        own = max(0.0, raw - delayed - self._sleeper.late(begin, now))
        felt.silent_s = max(felt.silent_s, own)
        felt.longest.append((round(time.time(), 1), round(raw, 2), round(own, 2)))

    def _ask(self) -> bool:
        try:
            if self._client is None:
                self._client = HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_S)
            self._client.request("GET", "/livez")
            reply = self._client.getresponse()
            return reply.read() == b"ok\n" and reply.status == 200
        except (OSError, HTTPException):
            if self._client is not None:
                self._client.close()
            self._client = None
            return False

    def _waited(self) -> float:
        """How long the main thread has waited for a processor so far, in seconds."""
        try:
            return int(Path(f"/proc/{self._pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    def _memory(self) -> None:
        try:
            status = Path(f"/proc/{self._pid}/status").read_text()
        except OSError:
            return
        peak = status.partition("VmHWM:")[2].split()
        if peak and (mib := int(peak[0]) / 1024) > self._felt.peak_mib:
            self._felt.peak_mib = mib
            self._felt.rises.append((time.time(), mib))


class Pulse:
    """The process, and its figures by name at the end."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.pulse"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, *words: object) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        print(*words, file=self._process.stdin, flush=True)

    def finish(self) -> dict[str, Felt]:
        """Stop, and return the figures."""
        printed, _ = self._process.communicate(timeout=30)
        rows: dict[str, dict[str, Any]] = json.loads(printed)
        return {name: Felt(**row) for name, row in rows.items()}

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Run until standard input ends."""
    felt: dict[str, Felt] = defaultdict(Felt)
    watches: dict[str, _Watch] = {}
    sleeper = _Sleeper()
    sleeper.start()
    for line in sys.stdin:
        word, name, *rest = line.split()
        if word == "watch":
            port, pid = map(int, rest)
            watches[name] = _Watch(felt[name], port, pid, sleeper)
            watches[name].start()
        elif name in watches:
            watches.pop(name).left.set()
    for watch in watches.values():
        watch.left.set()
    print(json.dumps({name: asdict(row) for name, row in felt.items()}))


if __name__ == "__main__":
    main()
