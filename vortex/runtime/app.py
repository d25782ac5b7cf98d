"""Runs the loops that `assembly` builds, and stops them in order. `service` runs it as a process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from vortex.core.fleet.store_mark import ForeignTable
from vortex.core.log.rules import BrokenLog
from vortex.core.log.trailer import CorruptSegment, OtherVersion
from vortex.core.wording import counted
from vortex.exits import Exit
from vortex.fleet.fleet import Draining
from vortex.publish.object_writer import ForeignObject
from vortex.runtime.assembly import Assembly

log = logging.getLogger(__name__)

_LOOK_AGAIN = 60.0
_SOON_LOOKS = 15
_CANCEL_AGAIN_S = 1.0
STOPS = (ForeignObject, ForeignTable, BrokenLog, CorruptSegment, OtherVersion)


async def _nothing() -> None:
    """Do nothing and never end."""
    await asyncio.get_running_loop().create_future()


class App:
    """One running process: the fleet, the publisher, and their health."""

    def __init__(self, loops: Assembly, *, watch: Callable[[], Awaitable[None]] = _nothing) -> None:
        """`watch` runs next to the loops until they end; an error in it ends them."""
        self.fleet, self.publisher = loops.fleet, loops.publisher
        self._env, self._draining, self._watch = loops.env, loops.draining, watch
        self._wake = loops.bounds.moved
        self._stop = asyncio.Event()
        self._grace_ends = math.inf
        """By the monotonic clock."""
        self._read_out = asyncio.Event()
        """Set when nothing more will be read."""
        self._publishing = asyncio.Lock()
        self._failed = False
        self._refused = False
        """Whether the last look at what to publish found state that needs operator action."""

    def stop(self) -> None:
        """Stop reading, commit, and publish what is committed."""
        if not self._stop.is_set():
            log.info("stopping: committing what was read")
            self._grace_ends = self._env.clock.monotonic() + self._env.settings.shutdown.grace / 1000
        self._stop.set()
        self.fleet.stop()
        if len(self.fleet.roster.workers) > 1:
            self.publisher.leave()

    async def run(self) -> Exit:
        """Run until stopped or drained, and everything is published (if stopped, within the grace period)."""
        fleet = asyncio.ensure_future(self.fleet.run())
        publishing = asyncio.ensure_future(self._publish_on())
        cleaning = asyncio.ensure_future(self.publisher.clean_on())
        watching = asyncio.ensure_future(self._watch())
        stopping = asyncio.ensure_future(self._stop.wait())
        tasks = [fleet, publishing, cleaning, watching, stopping]
        if self._draining is not None:
            tasks.append(asyncio.ensure_future(self._close_at_tip(self._draining)))
            tasks[-1].add_done_callback(self._stop_if_failed)
        try:
            await asyncio.wait([fleet, publishing, cleaning, watching, stopping], return_when=asyncio.FIRST_COMPLETED)
            await self._until(stopping, fleet, publishing, watching)
            self._read_out.set()
            self._wake.set()
            await self._until(stopping, publishing, watching)
            if not (fleet.done() and publishing.done()):
                log.warning("the grace period is over; uncommitted data will be read again, nothing is lost")
            for task in tasks:
                if task.done():
                    task.result()
        except STOPS as problem:
            self._give_up(problem)
        finally:
            await _cancelled(tasks)
        return Exit.LOST_STATE if self._failed or self._refused or self._gave_up() else Exit.OK

    def _gave_up(self) -> bool:
        """Whether a shard was given up, however long ago: the exit code shows it, and this line says why."""
        for shard, problem in sorted(self.fleet.given_up.items())[:1]:
            number = counted(len(self.fleet.given_up), "shard")
            log.error("%s given up since the start, such as %s: %s; exit code 5", number, shard, problem)
        return bool(self.fleet.given_up)

    async def _close_at_tip(self, fleet: Draining) -> None:
        """When draining: once all shards are at their tip, close and publish everything that was read."""
        await fleet.at_tip()
        if not self._stop.is_set():
            try:
                async with self._publishing:
                    end = await self.publisher.unpublished_end()
            except STOPS as problem:
                self._give_up(problem)
                self.stop()
                return
            log.info("drained to the tip of every shard")
            fleet.finish(end or 0)

    async def _until(self, stopping: asyncio.Future[Any], *tasks: asyncio.Future[Any]) -> None:
        """Wait until one of the tasks ends; once this process is asked to stop, until its grace period ends at most."""
        if not stopping.done():
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            left = max(0.0, self._grace_ends - self._env.clock.monotonic())
            await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    def _stop_if_failed(self, task: asyncio.Future[Any]) -> None:
        """An error in a task that may end before the others: `run` raises it as it ends."""
        if not task.cancelled() and task.exception() is not None:
            self.stop()

    def _give_up(self, problem: Exception) -> None:
        """The store needs operator action; the exit code shows it."""
        self._env.health.bad("stream", str(problem))
        self._failed = True

    async def _publish_on(self) -> None:
        """Publish whenever the frontier moves. Ends when nothing more will be read and all is published."""
        settings = self._env.settings
        alone = self.fleet.alone
        pause = max(1.0, min(30.0 if alone else 10.0, settings.publish.period / 2000))
        soon = 0
        """Looks to make at intervals of a second: a bound has moved, so a plan follows in which this worker helps."""
        while True:
            soon = _SOON_LOOKS if self._wake.is_set() and not alone else max(0, soon - 1)
            self._wake.clear()
            last_look, rest = self._read_out.is_set(), 1.0 if soon else pause
            try:
                async with self._publishing:
                    more = await self.publisher.step()
                self._refused = False
                self._env.health.good("publisher")
            except STOPS as problem:
                self._refused = True
                self._env.health.bad("publisher", str(problem))
                if last_look:
                    return
                more, rest = False, _LOOK_AGAIN
            if self.publisher.left and last_look:
                return  # the other workers publish the rest
            if more:
                continue
            if last_look:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._wake.wait()

    def ready(self) -> list[tuple[str, bool, str]]:
        """The checks of /readyz: name, whether it is ok, detail."""
        troubles = self._env.health.report()
        rows = [(name, False, detail) for name, detail in sorted(troubles.items())]
        reading = bool(self.fleet.workers or self.fleet.roster.workers)  # a member of a fleet may be on standby
        return [*rows, ("shards", reading, f"reads {counted(len(self.fleet.workers), 'shard')}")]


async def _cancelled(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel tasks until they have ended: a library may lose a cancellation, and the process has to end."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)  # which were reported, or came of the end
