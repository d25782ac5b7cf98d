"""Several workers on one machine: `vortex run --processes N`.

Each worker is a process of the same program and a member of the fleet with its own id. The supervisor starts them,
restarts those that die or hang, forwards signals, and serves one set of metrics and one health check on one port.
It accesses neither stream nor store, so that it cannot fail with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import ClientError

from vortex import metrics
from vortex.adapters.http.server import UNIX, Check, ask, checks_of, not_served, serve
from vortex.adapters.metrics import PrometheusMeter
from vortex.adapters.otlp import exported
from vortex.adapters.process_lives import Lives
from vortex.config.environment import variable
from vortex.config.loading import ConfigError
from vortex.config.places import MOST_SOCKET_BYTES, stream_name
from vortex.config.settings import LEAST_MEMORY, Settings
from vortex.core.wording import counted
from vortex.exits import Exit
from vortex.ports import Meter
from vortex.runtime.overview import encoded, started, together

log = logging.getLogger(__name__)

_SOCKET = "/0000-0000000000.sock"
"""A socket name of maximum length."""
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
_LISTEN_S = 5.0
_KILL_S = 60.0
"""A worker that was asked to stop, and still runs so many seconds after its grace period, is killed: it hangs."""
_SILENT = 24
"""Requests in a row without a reply, after which a worker is killed and restarted: it hangs. That takes two to four
minutes. Requests are counted, not seconds: a machine that slept has not waited.
"""
_STEADY_S = 60.0
"""A process that ran for so many seconds is restarted after the first, shortest wait."""
_FINAL = {Exit.USAGE, Exit.CONFIG, Exit.LOST_STATE}
"""Exit codes that need operator action: a restart would end in the same way."""


@dataclass(slots=True)
class _Child:
    """One worker slot: its process, and the address of its metrics."""

    number: int
    process: asyncio.subprocess.Process | None = None
    address: str = ""
    starts: int = 0
    unanswered: int = 0
    wait: float = _FIRST_WAIT


@dataclass(slots=True)
class Supervisor:
    """Runs `count` workers with `command`, each with these settings but its own address and share of memory.

    `command` begins with the program, e.g. `[sys.executable, "-P", "-m", "vortex", "run", "--supervised", "4"]`.
    """

    settings: Settings
    command: list[str]
    count: int
    folder: Path
    meter: PrometheusMeter = field(init=False)
    _meters: Meter = field(init=False)
    """`meter`, and OTLP where it is asked for: workers push their own metrics, and this process its own."""
    _children: list[_Child] = field(default_factory=list)
    _lives: Lives = field(default_factory=Lives)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _signalled: bool = False
    """Whether a signal has come. Workers are also stopped without one, where one of them needs operator action."""
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while workers are asked: an older page that comes after a newer one would make counters fall."""

    def __post_init__(self) -> None:
        self._meters = self.meter = PrometheusMeter(stream_name(self.settings.source.stream))

    async def run(self) -> Exit:
        """Run until stopped, or until a worker needs operator action. Returns the highest exit code."""
        self._children = [_Child(number) for number in range(self.count)]
        async with contextlib.AsyncExitStack() as serving:
            self._meters = await serving.enter_async_context(exported(self.meter, self.meter.stream))
            self._meters.add(metrics.PROCESS_RESTARTS, 0)  # a series that begins above 0 shows no increase
            self._meters.set(metrics.TROUBLE, 0, name="process")
            http = self.settings.http
            try:
                address = await serving.enter_async_context(
                    serve(http.host, http.port, self.page, self.ready, self.status)
                )
            except OSError as problem:
                raise ConfigError(not_served(http.host, http.port, problem)) from problem
            log.info("%s; %s", started(self.settings, self.meter.stream, address), counted(self.count, "worker"))
            listening = asyncio.ensure_future(self._listen())
            try:
                ended = await asyncio.gather(*(self._keep(child) for child in self._children))
            finally:
                listening.cancel()
        return Exit(max(ended))

    def signalled(self, number: int) -> None:
        """Handle SIGTERM and SIGINT: stop. The second one ends the workers at once."""
        if self._signalled or not self._stopping.is_set():
            self.stop(number)
        self._signalled = True

    def stop(self, number: int) -> None:
        """Send a signal to all workers, and restart none. Those that hang are killed later."""
        if not self._stopping.is_set():
            asyncio.get_running_loop().call_later(self.settings.shutdown.grace / 1000 + _KILL_S, self._kill)
        self._stopping.set()
        for child in self._children:
            if child.process is not None and child.process.returncode is None:
                child.process.send_signal(number)

    def _kill(self) -> None:
        for child in self._children:
            if child.process is not None and child.process.returncode is None:
                log.error(
                    "worker %d does not stop; killing it. Nothing is lost: what it read is read again", child.number
                )
                child.process.kill()

    async def _keep(self, child: _Child) -> int:
        """Keep one slot running. Returns the exit code of its last process."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            code = await self._live(child)
            if code in _FINAL and not self._stopping.is_set():
                log.error("worker %d ended with code %d; stopping all workers", child.number, code)
                self.stop(signal.SIGTERM)
            if self._stopping.is_set():
                return max(code, 0) if code in set(Exit) or code < 0 else Exit.FAILED
            child.wait = _FIRST_WAIT if loop.time() - begun >= _STEADY_S else min(2 * child.wait, _LONGEST_WAIT)
            self._meters.add(metrics.PROCESS_RESTARTS)
            log.error("worker %d ended with code %d; restarting in %.0f s", child.number, code, child.wait)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(child.wait):
                    await self._stopping.wait()
                return Exit.OK

    async def _live(self, child: _Child) -> int:
        """Run one process to its end. Its standard input closes when this process ends, and then it stops."""
        child.starts += 1
        child.unanswered = 0
        child.address = f"{UNIX}{self.folder}/{child.number}-{child.starts}.sock"
        environment = {**os.environ, variable("http", "host"): child.address}
        limit = self.settings.memory.limit
        if limit != "auto":  # a worker finds its part of "auto" itself
            environment[variable("memory", "limit")] = str(max(LEAST_MEMORY, limit // self.count))
        try:
            child.process = await asyncio.create_subprocess_exec(
                *self.command,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches it only once, through the supervisor
            )
        except OSError as problem:  # out of memory, file descriptors or processes: may pass
            log.error("worker %d cannot be started: %s", child.number, problem)
            return Exit.FAILED
        self._lives.begun(child.address)
        log.info("worker %d: process %d", child.number, child.process.pid)
        if self._stopping.is_set():
            child.process.send_signal(signal.SIGTERM)
        code = await child.process.wait()
        self._lives.ended(child.address)
        return code

    # Metrics and health of all workers.

    async def page(self) -> bytes:
        """The page of /metrics: counters of all past and present workers, gauges of those that answer."""
        async with self._asking:
            fresh, checks = await asyncio.gather(self._pages(), self.ready())
            self.meter.set(metrics.READY, all(ok for _, ok, _ in checks))
            dead = any(not ok and name.endswith(" process") for name, ok, _ in checks)
            self._meters.set(metrics.TROUBLE, dead, name="process")
            return self._lives.page(self.meter.page().decode(), fresh)

    async def _pages(self) -> dict[str, str]:
        """The pages of the workers that answer, by address."""
        found: dict[str, str] = {}

        async def ask_one(address: str) -> None:
            page = await self._ask(address, "/metrics")
            with contextlib.suppress(ValueError):  # an error message instead of a page
                if page is not None:
                    self._lives.reported(address, page)
                    found[address] = page

        await asyncio.gather(*(ask_one(child.address) for child in self._children))
        return found

    async def _listen(self) -> None:
        """Refresh pages regularly: counts after the last page of a worker are lost when it dies. Kill hanging ones."""
        while True:
            await asyncio.sleep(_LISTEN_S)
            async with self._asking:
                answered = await self._pages()
            dead = any(child.address not in answered for child in self._children)
            self._meters.set(metrics.TROUBLE, dead, name="process")
            for child in self._children:
                child.unanswered = 0 if child.address in answered else child.unanswered + 1
                if child.unanswered == _SILENT and not self._stopping.is_set():
                    self._end_silent(child)

    @staticmethod
    def _end_silent(child: _Child) -> None:
        if child.process is not None and child.process.returncode is None:
            log.error(
                "worker %d does not answer (%d requests in a row); killing it. What it had not committed is read again",
                child.number,
                child.unanswered,
            )
            child.process.kill()

    async def ready(self) -> list[Check]:
        """The checks of /readyz of all workers."""
        rows: list[Check] = []
        replies = await asyncio.gather(*(self._ask(child.address, "/readyz?verbose") for child in self._children))
        for child, text in zip(self._children, replies, strict=True):
            checks = [("process", False, "does not answer")] if text is None else checks_of(text)
            rows += [(f"worker {child.number} {name}", ok, detail) for name, ok, detail in checks]
        return rows

    async def status(self) -> bytes:
        """The JSON of the page at /, of all workers that answer."""
        replies = await asyncio.gather(*(self._ask(child.address, "/status.json") for child in self._children))
        documents = []
        for text in replies:
            with contextlib.suppress(ValueError):
                if text is not None and text.startswith("{"):
                    documents.append(json.loads(text))
        return encoded(together(self.meter.stream, time.time_ns() // 1_000_000, await self.ready(), documents))

    async def _ask(self, address: str, path: str) -> str | None:
        try:
            return await ask(address, path)
        except (OSError, TimeoutError, ClientError):
            return None


def socket_folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder for the sockets, with a short enough path. Raises ConfigError."""
    problem_text = ""
    for base in (None, "/tmp", "/dev/shm", "/var/tmp"):
        try:
            made = tempfile.TemporaryDirectory(prefix="vortex-", dir=base)
        except OSError as problem:
            problem_text = problem_text or f"{problem.filename or 'no folder'}: {problem.strerror or problem}"
            continue
        if len(os.fsencode(made.name)) + len(_SOCKET) <= MOST_SOCKET_BYTES:
            return made
        problem_text = problem_text or f"{made.name}: too long for the path of a socket"
        made.cleanup()
    raise ConfigError(f"TMPDIR: {problem_text}; set it to a short, writable path")


async def _main(settings: Settings, command: list[str], count: int) -> Exit:
    with socket_folder() as folder:
        supervisor = Supervisor(settings, command, count, Path(folder))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.signalled, number)
        return await supervisor.run()


def run(settings: Settings, config: Path | None, count: int) -> int:
    """`vortex run --processes N`: returns the exit code."""
    return int(asyncio.run(_main(settings, worker_command(config, count), count)))


def worker_command(config: Path | None, count: int) -> list[str]:
    """The command line of one of so many workers.

    `-P`: a folder named `vortex` in the current directory is not the package.
    """
    chosen = ["-c", str(config)] if config else []
    return [sys.executable, "-P", "-m", "vortex", "run", "--supervised", str(count), *chosen]
