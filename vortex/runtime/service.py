"""One process as a service: signals, health during start-up, and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import uvloop

from vortex.adapters.heap import use_one_heap
from vortex.adapters.http.server import Check, not_served, serve
from vortex.adapters.logs import live_line
from vortex.adapters.metrics import PrometheusMeter
from vortex.adapters.otlp import exported
from vortex.adapters.usable_memory import usable_bytes
from vortex.config.loading import ConfigError
from vortex.config.places import stream_name
from vortex.config.settings import Settings
from vortex.core.memory import part_of
from vortex.core.wording import counted
from vortex.exits import Exit
from vortex.runtime.app import STOPS, App
from vortex.runtime.assembly import assemble, loaded_state
from vortex.runtime.environment import Environment, open_environment, too_little_memory
from vortex.runtime.first_start import ForeignState
from vortex.runtime.overview import Overview, beside, encoded, started
from vortex.runtime.watch import Watch

log = logging.getLogger(__name__)


_DRAINS = 3
"""Rounds of a drain. More than one is needed where shards merge while it reads."""

_NAMED = 10
"""Shards named in a message."""


class Service:
    """Serves health and signals, also before the app exists: alive, not ready, and stoppable."""

    def __init__(self, env: Environment, meter: PrometheusMeter) -> None:
        self._env, self._meter = env, meter
        self._app: App | None = None
        self._stopped = False
        self._starting: asyncio.Future[Any] | None = None
        """What is awaited while there is no app."""
        self._overview = Overview(env, meter, self.checks)
        self._watch = Watch(env, self.checks, self._looked)
        self.live: Callable[[str], None] | None = None
        """Replaces the live line of a terminal."""
        env.on_commit = self._overview.committed

    async def page(self) -> bytes:
        """The page of /metrics."""
        return self._meter.page()

    async def status(self) -> bytes:
        """The JSON of the page at /."""
        return encoded(self._overview.document())

    def sums(self) -> str:
        """What was done since the start."""
        return self._overview.sums()

    def _looked(self) -> None:
        self._overview.sample()
        if self.live is not None:
            self.live(self._overview.line())

    async def ready(self) -> list[Check]:
        """The checks of /readyz."""
        return self.checks()

    def checks(self) -> list[Check]:
        """What may stand in the way of readiness."""
        if self._app is not None:
            return self._app.ready()
        troubles = sorted(self._env.health.report().items())
        return [*((name, False, detail) for name, detail in troubles), ("start", False, "loading the stream's state")]

    def stop(self) -> None:
        """Handle SIGTERM and SIGINT, at any time. The second signal ends the process at once."""
        if self._stopped:
            log.warning("second signal: exiting at once; no committed data is lost")
            os._exit(Exit.INTERRUPTED)
        self._stopped = True
        if self._app is not None:
            self._app.stop()
        elif self._starting is not None:
            self._starting.cancel()

    def orphaned(self) -> None:
        """The supervisor has ended, so it cannot stop this process any more: stop now."""
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        if not self._stopped:
            self.stop()

    async def run(self, *, drain: bool) -> Exit:
        """Load the state of the stream, then run."""
        if not drain:
            return await self._run(drain)
        code = await self._drained()
        if code is Exit.UNFINISHED and self._stopped:
            log.warning("the drain was stopped before its end; run it again, or start the workers")
        return code

    async def _drained(self) -> Exit:
        """Drain. If something is left unpublished, begin again: shards have merged, while one of them waited at its tip
        already. So the other one has ended, and their child was not read.
        """
        for left in range(_DRAINS, 0, -1):
            code = await self._run(drain=True)
            if code is not Exit.OK or self._stopped:
                break
            try:
                unpublished = await self._unpublished()
            except STOPS as problem:
                log.error("%s", problem)
                return Exit.LOST_STATE
            if unpublished is None:
                break
            if not unpublished:
                return Exit.OK
            if left > 1:
                log.info("shards have merged, or another worker commits: draining again, since %s", unpublished)
            else:
                log.error(
                    "the drain is not finished: %s. Shards merge again and again, or another worker runs. Stop all "
                    "workers and resharding of the stream, then run the drain again",
                    unpublished,
                )
        return Exit.UNFINISHED if code is Exit.OK else code

    async def _run(self, drain: bool) -> Exit:
        watching = asyncio.ensure_future(beside(self._watch.run, self._overview.run))
        try:
            return await self._once(watching, drain)
        finally:
            watching.cancel()

    async def _once(self, watching: asyncio.Future[None], drain: bool) -> Exit:
        if self._stopped:
            return Exit.OK
        starting = asyncio.ensure_future(loaded_state(self._env))
        self._starting = starting
        try:
            state, log_store = await starting
        except (ForeignState, *STOPS) as problem:
            log.error("%s", problem)
            return Exit.LOST_STATE
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            return Exit.OK  # nothing was started yet
        if self._stopped:  # in the moment in which the state was there
            return Exit.OK
        loops = assemble(self._env, state, log_store, drain=drain)
        self._watch.begin(loops)
        self._overview.begin(loops, state)
        self._app = App(loops, watch=lambda: watching)
        return await self._app.run()

    async def _unpublished(self) -> str | None:
        """What a drain has left in the logs, and what holds it up; None if the service is stopped meanwhile."""
        assert self._app is not None
        publisher = self._app.publisher
        looking = asyncio.ensure_future(publisher.unpublished_end())
        self._app, self._starting = None, looking
        try:
            if await looking is None:
                return ""
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            return None
        return f"unpublished events of {_some(publisher.unpublished)} wait for {_some([publisher.status.holder])}"


def _some(shards: list[str]) -> str:
    """The first shards by name, and the number of the others."""
    more = [] if len(shards) <= _NAMED else [counted(len(shards) - _NAMED, "other shard")]
    return ", ".join(["shard " + shard for shard in shards[:_NAMED]] + more)


async def _main(settings: Settings, drain: bool, processes: int) -> Exit:
    meter = PrometheusMeter(stream_name(settings.source.stream))
    async with exported(meter, meter.stream) as meters, open_environment(settings, meters, processes) as env:
        service, supervised = Service(env, meter), processes > 0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        if supervised:
            loop.add_reader(sys.stdin.fileno(), service.orphaned)
        async with contextlib.AsyncExitStack() as serving:
            endpoint = serve(settings.http.host, settings.http.port, service.page, service.ready, service.status)
            try:
                address = await serving.enter_async_context(endpoint)
            except OSError as problem:
                raise ConfigError(not_served(settings.http.host, settings.http.port, problem)) from problem
            log.info("%s", started(settings, meter.stream, address))
            if short := too_little_memory(settings, part_of(usable_bytes(), processes)):
                log.warning("memory: %s", short)
            service.live = None if supervised else live_line()
            code = await service.run(drain=drain)
            if service.live is not None:
                service.live("")
            log.info("ended with code %d: %s", code, service.sums())
            return code


def run(settings: Settings, *, drain: bool, supervised: int = 0) -> NoReturn:
    """`vortex run`: ends this process with its exit code. Raises what prevents its start, such as ConfigError.

    `supervised`: 0, or the number of workers that the supervisor runs. Then it stops when its standard input (the
    supervisor) ends.
    """
    use_one_heap()
    # Pages create thousands of short-lived tuples and no cycles: collecting after every 700 of them costs a tenth of
    # all CPU. Imported modules are never collected.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        _leave(runner.run(_main(settings, drain, supervised)))


def _leave(code: Exit) -> NoReturn:
    """End the process. Everything is closed, so what is left are threads that wait for a look-up of a name, or for a
    disk that hangs: the loop and the interpreter would wait for them without a limit.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)
