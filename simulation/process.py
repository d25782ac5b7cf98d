"""One simulated process: the real `App` with all its loops, over ports that stop when it is paused or dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from typing import Protocol, TypeVar

from simulation import vtime
from simulation.faults import Conditions
from simulation.memstream import MemoryStream
from simulation.simscratch import SimScratch
from simulation.simstore import NEWER, SimStore, StoreView
from simulation.simstream import ProcessStream
from simulation.simtable import SimTable, TableView
from simulation.vtime import NullMeter, VirtualClock
from vortex.config.settings import Settings
from vortex.core.ingest.draft import Draft
from vortex.core.invariants import Invariant
from vortex.core.log.segment import VERSION, Footer
from vortex.core.log.trailer import OtherVersion
from vortex.exits import Exit
from vortex.health import Health
from vortex.ingest.memory import Limit
from vortex.ports import Denied, Unavailable
from vortex.retry import Retry
from vortex.runtime.app import App
from vortex.runtime.assembly import assemble, loaded_state
from vortex.runtime.environment import Environment, publish_rules
from vortex.runtime.trust import TrustedClock, TrustedStream

FOLLOWS = 3000
"""The memory limit of a process whose limit follows its shards up to that."""

T = TypeVar("T")


def following(shards: int) -> int:
    """That limit with so many shards at their tip."""
    return min(FOLLOWS, max(300, 1000 * shards))


class Observer(Protocol):
    """Observes what processes do: the checks."""

    def began(self, process: Process) -> None:
        """A process starts."""
        ...

    def read(self, process: Process, shard: str) -> None:
        """The process is about to read a shard's records."""
        ...

    def untimed(self, shard: str, sequences: Iterable[int]) -> None:
        """A reply had impossible arrival times for these records."""
        ...

    def committed(self, process: Process, shard: str, footer: Footer) -> None:
        """One of its workers has committed."""
        ...

    def drained(self, process: Process) -> None:
        """It has drained the stream, and was not stopped."""
        ...

    def violated(self, invariant: Invariant, what: str) -> None:
        """An invariant is violated."""
        ...


class Surroundings(Protocol):
    """The environment of a process."""

    store: SimStore
    stream: MemoryStream
    table: SimTable
    conditions: Conditions
    epoch_ms: int
    dates_off_ms: int

    @property
    def observer(self) -> Observer:
        """Receives all events that the checks need."""
        ...

    def say(self, who: str, what: str) -> None:
        """Write a line to the run's log."""
        ...


class Process:
    """One process from start to end. `run` ends when it stops, dies or fails."""

    def __init__(
        self,
        world: Surroundings,
        owner: str,
        settings: Settings,
        rng: Random,
        skew_ms: int,
        *,
        drain: bool,
        newer: bool = False,
    ) -> None:
        self.owner, self.settings, self.skew_ms, self.drain = owner, settings, skew_ms, drain
        self.world = world
        self.newer = newer
        """Whether it is a newer version, which writes segments that others cannot read."""
        self.outdated = False
        """Whether it has found such a segment and is not newer itself."""
        self.stopped = False
        """Whether it got SIGTERM."""
        self.dead = False
        self.halted = False
        """Whether it is dead or perhaps paused: then `awake` is called before each step. Others are spared the call."""
        self.delayed = False
        """Whether it was ever paused or slow: then it may use an expired iterator."""
        self.app: App | None = None
        self.outcome = ""
        self.dies_at_call = 0
        self.rng = rng
        self.health = _Health(self)
        self._calls = 0
        self._paused_until = 0.0
        self.allowed = 0
        """Bytes up to which memory may be in use: a limit that falls takes nothing back."""
        self._locked_out = 0.0, False
        self._disk_full_until = 0.0
        self._main: asyncio.Future[Exit] | None = None

    async def run(self) -> None:
        """Run until it ends in any way."""
        self.world.observer.began(self)
        self._main = asyncio.ensure_future(self._live())
        try:
            await asyncio.wait([self._main])
        finally:
            self.dead = self.halted = True
            self._main.cancel()
        if self._main.cancelled():
            self.outcome = self.outcome or "died"
        elif (problem := self._main.exception()) is not None:
            self.outcome = f"failed: {problem!r}"
            self.world.observer.violated(Invariant.SETTLES, f"process {self.owner} failed: {problem!r}")
        else:
            self.outcome = self._main.result().name
            if self.drain and not self.stopped and self._main.result() is Exit.OK:
                self.world.observer.drained(self)
        self.say(f"ends: {self.outcome}")

    async def _live(self) -> Exit:
        world, settings = self.world, self.settings
        clock = _Clock(self)
        view = world.stream.seen_by(self.owner)
        retry = Retry(clock, NullMeter(), self.health, Random(self.rng.getrandbits(64)))
        store = StoreView(world.store, self, world.conditions, Random(self.rng.getrandbits(64)), self.say)
        store.version = NEWER if self.newer else VERSION
        trusted = TrustedClock(clock, self.health, NullMeter())
        memory, indexes, scratch = self._scratch()
        environment = Environment(
            settings=settings,
            rules=replace(publish_rules(settings), copy_bytes=memory, index_bytes=indexes),
            stream=TrustedStream(ProcessStream(self, view, Random(self.rng.getrandbits(64))), trusted),
            trusted=trusted,
            store=store,
            clock=clock,
            meter=NullMeter(),
            health=self.health,
            retry=retry,
            offload=self._offload,
            owner=self.owner,
            token=lambda: f"{self.rng.getrandbits(64):016x}",
            seed=7,
            scratch=scratch,
            table=self._table(),
            on_commit=self._committed,
            limit=self._limit(),
        )
        try:
            return await self._run(environment)
        except OtherVersion as problem:
            self.health.bad("shard", str(problem))
            return Exit.LOST_STATE

    async def _run(self, environment: Environment) -> Exit:
        state, log_store = await loaded_state(environment)
        # Gauges and the comparison of clocks are left out: they decide nothing.
        self.app = App(assemble(environment, state, log_store, drain=self.drain))
        return await self.app.run()

    def _limit(self) -> Limit | None:
        """With little memory, but not the least: a limit that follows the shards, as with "auto"."""
        most = self.settings.memory.limit
        if most != FOLLOWS:
            return None

        def limit(at_tip: int, shards: int) -> int:
            self.allowed = max(self.allowed, following(at_tip))
            return following(at_tip)

        return limit

    def _scratch(self) -> tuple[int, int, SimScratch]:
        """Bytes of memory for copies and for indexes, and the disk for more copies."""
        conditions, choices = self.world.conditions, Random(f"scratch {self.owner}")  # the text is part of each seed
        memory, indexes = choices.choice((0, 500, 64 << 20)), choices.choice((0, 500, 128 << 20))
        limit = choices.choice((0, 2000, 1 << 30))
        if conditions.rate("process.scratch_full"):
            memory, limit = 0, 1 << 30  # it needs files
        scratch = SimScratch(
            limit,
            lambda: conditions.occurs("process.scratch", choices),
            lambda: vtime.now() < self._disk_full_until,
        )
        return memory, indexes, scratch

    def _committed(self, shard: str, footer: Footer) -> None:
        if not self.dead:
            self.world.observer.committed(self, shard, footer)

    def _table(self) -> TableView | None:
        world = self.world
        if self.settings.coordination.mode == "local":
            return None
        return TableView(world.table, self.owner, self, world.conditions, Random(self.rng.getrandbits(64)), self.say)

    # Faults of the process.

    def die(self, why: str) -> None:
        """Die at once: tasks are cancelled and memory is lost; writes already sent may still land."""
        if not self.dead:
            self.say(f"dies: {why}")
            self.dead = self.halted = True
            self.outcome = "died"
            if self._main is not None:
                self._main.cancel()

    def pause(self, seconds: float) -> None:
        """Pause: no call is made and no reply received for this time."""
        self.say(f"is paused for {seconds:.0f} s")
        self.delayed = self.halted = True
        self._paused_until = max(self._paused_until, vtime.now() + seconds)

    def lock_out(self, seconds: float, denied: bool) -> None:
        """Credentials expire: every call fails, or is denied, for this time."""
        self.say(f"has no credentials for {seconds:.0f} s")
        self._locked_out = vtime.now() + seconds, denied

    def fill_disk(self, seconds: float) -> None:
        """Its scratch files take no more bytes for this time."""
        self.say(f"has no room for scratch files for {seconds:.0f} s")
        self._disk_full_until = vtime.now() + seconds

    def wake(self) -> None:
        """End pauses, lock-outs and the full disk at the next call."""
        self._locked_out = 0.0, False
        self._disk_full_until = 0.0
        self._paused_until = 0.0

    def stop(self) -> None:
        """Send SIGTERM."""
        self.say("gets SIGTERM")
        self.stopped = True
        if self.app is not None:
            self.app.stop()
        else:
            self.die("stopped before it had started")

    def say(self, what: str) -> None:
        """Write a line to the run's log."""
        self.world.say(self.owner, what)

    # Called by its ports.

    async def gate(self, what: str) -> None:
        """Called before every call of a port."""
        self._calls += 1
        if self._calls == self.dies_at_call:
            self.die(f"before call {self._calls}, {what}")
        if self.halted:
            await self.awake()
        if vtime.now() < self._locked_out[0]:
            raise Denied(what) if self._locked_out[1] else Unavailable(what, "credentials")

    async def awake(self) -> None:
        """Wait until the process is not paused. Raises CancelledError if it is dead."""
        # A pause may be shortened or extended during the wait.
        while not self.dead and (left := self._paused_until - vtime.now()) > 0:
            await vtime.sleep(min(left, 60.0))
        if self.dead:
            raise asyncio.CancelledError
        self.halted = False

    async def _offload(self, fn: Callable[..., T], /, *args: object) -> T:
        if self.world.conditions.occurs("process.slow_threads", self.rng):
            await vtime.sleep(self.rng.uniform(0.01, 8.0))
        else:
            await asyncio.sleep(0)
        if self.newer and (draft := getattr(fn, "__self__", None)) is not None and isinstance(draft, Draft):
            draft.footer.version = NEWER
        result = fn(*args)
        if self.halted:
            await self.awake()
        return result

    def outdate(self) -> None:
        """It has found a newer version's segment; an operator replaces it within minutes."""
        if not self.outdated:
            self.say("is outdated")
            self.outdated = True
            asyncio.get_running_loop().call_later(self.rng.uniform(0, 300), self.stop)


class _Health(Health):
    """Makes a shard or publisher that needs operator action a violation; only outdated processes may need it."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process

    def bad(self, name: str, detail: str, *, again: bool = True, kind: str = "") -> None:
        """See `Health`."""
        super().bad(name, detail, again=again, kind=kind)
        if "format version" in detail and not self._process.newer:
            self._process.outdate()
        elif (name in ("publisher", "stream") or name.startswith("shard ")) and not self._process.dead:
            self._process.world.observer.violated(Invariant.SETTLES, f"{self._process.owner}: {name} stops: {detail}")


class _Clock(VirtualClock):
    def __init__(self, process: Process) -> None:
        super().__init__(process.world.epoch_ms, process.skew_ms)
        self._process = process

    async def sleep(self, seconds: float) -> None:
        await vtime.sleep(seconds)
        if self._process.halted:
            await self._process.awake()
