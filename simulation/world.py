"""A simulated world, determined by one seed: a stream, a store, processes, operators, faults. `run(seed)` runs it.

    traffic and faults for a few hours  ->  faults stop  ->  bounded time to settle  ->  late writes land  ->  checks

Each concern has its own `Random`, so a change in one does not affect the others. Time is virtual. The same seed gives
the same run, bit for bit.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import vortex.core.log.segment
from simulation import vtime
from simulation.checks import Checker
from simulation.faults import Conditions
from simulation.memstream import MemoryStream
from simulation.process import FOLLOWS, Process
from simulation.simstore import NEWER, SimStore
from simulation.simtable import SimTable
from simulation.traffic import Traffic
from vortex.config.settings import Memory, Settings
from vortex.core.invariants import Invariant
from vortex.core.layout import moment
from vortex.core.model import HOUR_MS

_EPOCH_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
_MINUTE = 60_000
_PERIODS = (60_000, 300_000, 900_000, 1_200_000, HOUR_MS)
_LATENESS = (0, 30_000, 60_000, 600_000, 1_800_000)
_WINDOWS = (120_000, 600_000, 1_800_000, HOUR_MS)
_REACHES = (60_000, 300_000, 1_200_000, 24 * HOUR_MS)
_POLL = "10s"
"""Poll interval of a shard at its tip; longer than the default, since most of a run is waiting."""

_COLLECT_AFTER = 50_000
"""New objects between searches for cycles. Few live long, and a search every 700 objects takes a tenth of a run."""


@dataclass
class Outcome:
    """The result of a run."""

    seed: int
    violations: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """Of each object in the store at the end: equal for equal runs."""


class World:
    """One run, and the `Surroundings` of its processes."""

    def __init__(self, seed: int, *, trace: bool = False, wanted: Sequence[str] = (), fleet: bool = False) -> None:
        self.seed, self.trace, self.fleet = seed, trace, fleet
        self.log: list[str] = []
        self.conditions = Conditions(seed, wanted)
        self.rng = Random(f"world {seed}")
        self.epoch_ms = _EPOCH_MS + self.rng.randrange(0, HOUR_MS, 1000)
        self.clock = vtime.VirtualClock(self.epoch_ms)
        self.store = SimStore(self.clock)
        self.table = SimTable()
        self.duration_s = self.rng.choice((1200, 2400, 4500, 9000)) * self.rng.uniform(0.7, 1.3)
        self.events = self.rng.choice((20, 60, 150, 250))
        self.usual = self._settings(self.rng, Random(f"reach {seed}"))
        self.may_run = asyncio.Event()
        """Whether processes may start."""
        self.may_run.set()
        trim = self.conditions.rate("stream.trim") > 0
        self.stream = MemoryStream(
            self.clock,
            shards=self.rng.choice((1, 1, 2, 2, 3)),
            retention_ms=30 * _MINUTE if trim else 24 * HOUR_MS,
            page_records=self.rng.choice((3, 20, 10_000)),
            random=Random(f"stream {seed}"),
            irregular=self.conditions.rate("stream.irregular"),
        )
        self.stream.weight = int(self.conditions.rate("stream.heavy")) or 1
        self.stream.null_iterators = self.conditions.rate("stream.null_iterators") > 0
        self.traffic = Traffic(self.stream, self.clock, self.conditions, seed, self.usual.dedup.window)
        self.observer = Checker(self.store, self.stream, self.traffic, self.clock, self.say)
        self.processes: list[Process] = []
        self.dates_off_ms = 0
        """The current error of the Dates of all replies."""
        self.started = 0
        self.upgraded = False

    def say(self, who: str, what: str) -> None:
        """Write a line to the run's log if tracing is on."""
        if self.trace:
            at = moment(self.clock.now_ms()).strftime("%d %H:%M:%S.%f")[:-3]
            self.log.append(f"{at} {who}: {what}")

    # The settings of a process.

    def _settings(self, rng: Random, own: Random) -> Settings:
        """Drawn from `rng`; `dedup.reach` from its `own`, so that all seeds keep the other settings."""

        def span(choices: tuple[int, ...]) -> str:
            return f"{rng.choice(choices) // 1000}s"

        max_delay = rng.choice((20 * _MINUTE, HOUR_MS)) if self.conditions.rate("operator.max_delay") else None
        start = "latest" if self.conditions.rate("stream.past") else "trim_horizon"
        sections: dict[str, dict[str, Any]] = {
            "source": {"stream": "events", "poll": _POLL, "start": start},
            "event": {"customer": "c", "type": "t", "id": "id", "time": "at"},
            "store": {"url": "file:///nowhere"},
            "dedup": {"window": span(_WINDOWS), "reach": f"{own.choice(_REACHES) // 1000}s"},
            "commit": {
                "every": span((5_000, 30_000, 120_000)),
                "max_bytes": rng.choice((400, 5_000, 2**20)),
                "keep": span((0, 0, 600_000, HOUR_MS)),
            },
            "publish": {"period": span(_PERIODS), "target_object_size": rng.choice((1, 400, 2**20))},
            "hours": {"allowed_lateness": span(_LATENESS)},
        }
        if self.fleet:
            sections["coordination"] = {"mode": "dynamodb", "failover": span((10_000, 30_000, 60_000))}
        settings = Settings.model_validate(sections)
        # Values that users cannot set: `max_delay` also affects shards that keep up, and memory is smaller.
        settings = settings.model_copy(update={"hours": settings.hours.model_copy(update={"max_delay": max_delay})})
        tight = self.conditions.rate("process.tight") > 0
        limit = rng.choice((300, FOLLOWS)) if tight else settings.memory.limit
        memory = Memory.model_construct(limit=limit, keys=rng.choice((400, 4000, 2**20)))
        return settings.model_copy(update={"memory": memory})

    # The phases of a run.

    async def live(self) -> None:
        """Run all phases. The first violation ends the run."""
        self.observer.begins()
        self.table.on_checkpoint = self.observer.lease_written
        self.table.on_remove = self.observer.lease_removed
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, what: self.observer.violated(Invariant.SETTLES, f"unhandled: {what.get('exception')!r}")
        )
        whole = asyncio.ensure_future(self._phases())
        failed = asyncio.ensure_future(self.observer.failed.wait())
        try:
            await asyncio.wait([whole, failed], return_when=asyncio.FIRST_COMPLETED)
            if whole.done():
                whole.result()
        finally:
            for process in self.processes:
                process.die("the world ends")
            for task in (whole, failed):
                task.cancel()
            await asyncio.gather(whole, failed, return_exceptions=True)

    async def _phases(self) -> None:
        if self.conditions.rate("stream.past"):
            await self._past()
        slots = 2 if self.conditions.rate("process.second") else 1
        if self.fleet:
            slots = self.rng.choice((2, 3, 4))
        tasks = [asyncio.ensure_future(self._supervise(slot)) for slot in range(slots)]
        busy = [asyncio.ensure_future(each) for each in self._disturbances()]
        try:
            await self.traffic.run(self.duration_s, self.events)
            left = self.duration_s - self.clock.monotonic()
            await asyncio.sleep(max(0.0, left))
            await self._settle(busy)
            self.say("world", f"settled; {self.store.land_all()} late writes land")
            await asyncio.sleep(600)
            await self.observer.finish()
        finally:
            for process in self.processes:
                process.die("the world ends")
            for task in (*tasks, *busy):
                task.cancel()
            await asyncio.gather(*tasks, *busy, return_exceptions=True)

    async def _past(self) -> None:
        """Fill the stream before any process reads it, with splits or merges in between."""
        for change in (self._split, self._merge, self._split):
            await self.traffic.run(300, 10)
            await asyncio.sleep(10)
            if self.rng.random() < 0.5:
                change(self.rng)

    async def _settle(self, busy: Sequence[asyncio.Future[None]]) -> None:
        """Stop the faults; all events must be published and all past hours closed in bounded time (I8)."""
        for task in busy:
            task.cancel()
        self.conditions.end()
        self.observer.faults_ended_at = self.clock.now_ms()
        self.stream.irregular, self.dates_off_ms = 0.0, 0
        for process in self.processes:
            process.wake()
            if process.outdated:
                process.stop()
        self.say("world", "faults stop")
        begun = self.clock.monotonic()
        slowest = max(s.publish.period + s.hours.allowed_lateness for s in self.observer.settings.values())
        skew = max((abs(p.skew_ms) for p in self.processes), default=0)
        # Drains close periods that are not over yet. Later events go to later periods, which must pass first.
        ahead = (
            max((log[-1].footer.closed_before for log in self.observer.logs.values()), default=0) - self.clock.now_ms()
        )
        # With little memory, a page has one record, and workers that race for a shard make each other wait.
        backlog_s = 60 * self.observer.uncommitted()
        limit = begun + (2 * slowest + skew + max(0, ahead) + HOUR_MS) / 1000 + 600 + backlog_s
        while (missing := self.observer.unsettled(slowest)) is not None:
            if self.clock.monotonic() > limit:
                self.observer.violated(Invariant.SETTLES, f"{limit - begun:.0f} s after the last fault: {missing}")
            await asyncio.sleep(60)

    async def _supervise(self, slot: int) -> None:
        """Start a process, and a new one whenever it ends, as a container service does."""
        rng = Random(f"slot {self.seed} {slot}")
        if slot:
            await asyncio.sleep(rng.choice((0.0, rng.uniform(0, self.duration_s / 2))))
        while True:
            await self.may_run.wait()
            process = self._process(slot, rng)
            self.processes = [one for one in self.processes if not one.dead] + [process]
            await process.run()
            down = rng.choice((0.0, 5.0, rng.uniform(0, 1200)))
            await asyncio.sleep(5.0 if self.conditions.ended else down)

    def _process(self, slot: int, rng: Random) -> Process:
        conditions = self.conditions
        self.started += 1
        reach = Random(f"reach {self.seed} {self.started}")
        settings = self._settings(rng, reach) if conditions.occurs("process.settings", rng) else self.usual
        # Of a generator of its own, so that all seeds keep their other faults.
        if conditions.occurs("process.zstd", Random(f"zstd {self.seed} {self.started}")):
            layout = settings.layout.model_copy(update={"compression": "zstd"})
            settings = settings.model_copy(update={"layout": layout})
        small = Random(f"small {self.seed} {self.started}")
        if conditions.occurs("process.small", small):
            layout = settings.layout.model_copy(update={"small": small.choice((100, 400, 2000))})
            settings = settings.model_copy(update={"layout": layout})
        skew = int(rng.choice((1_000, 120_000, HOUR_MS)) * rng.uniform(-1, 1)) if conditions.rate("clock.skew") else 0
        drain = conditions.occurs("process.drain", rng)
        newer = conditions.occurs("process.version", rng) or (self.upgraded and conditions.ended)
        self.upgraded |= newer
        owner, own = f"p{slot}-{self.started}", Random(rng.getrandbits(64))
        made = Process(self, owner, settings, own, skew, drain=drain, newer=newer)
        if conditions.occurs("process.crash_call", rng):
            made.dies_at_call = int(2 ** rng.uniform(0, 11))
        return made

    # Disturbances from outside.

    def _disturbances(self) -> list[Coroutine[Any, Any, None]]:
        short, long = (0.5, 60.0), (900.0, 9000.0)
        rows: list[tuple[str, Callable[[Random], object]]] = [
            ("process.crash", lambda rng: self._one(rng).die("any moment")),
            ("process.stop", lambda rng: self._one(rng).stop()),
            ("process.pause", lambda rng: self._one(rng).pause(rng.uniform(*short))),
            ("process.zombie", lambda rng: self._one(rng).pause(rng.uniform(*long))),
            ("stream.split", self._split),
            ("stream.merge", self._merge),
            (
                "process.credentials",
                lambda rng: self._one(rng).lock_out(rng.uniform(10, 900), rng.random() < 0.5),
            ),
            ("process.scratch_full", lambda rng: self._one(rng).fill_disk(rng.uniform(60, 1800))),
            ("stream.wrong_dates", self._wrong_dates),
            ("operator.close", self._advance),
            ("store.disk_full", lambda rng: self._trouble("disk_full", rng)),
            ("store.denied", lambda rng: self._trouble("denied", rng)),
            ("process.outage", self._outage),
        ]
        if self.fleet:
            rows += [("table.cut", self._cut), ("table.restore", self._restore)]
        going = [self._now_and_then(name, action) for name, action in rows if self.conditions.rate(name)]
        return [*going, self.table.remember()] if self.fleet else going

    async def _now_and_then(self, name: str, action: Callable[[Random], object]) -> None:
        rng = Random(f"{name} {self.seed}")
        while self.conditions.rate(name):
            await asyncio.sleep(rng.expovariate(self.conditions.rate(name) / 3600))
            if self.processes:
                done = action(rng)
                if isinstance(done, Coroutine):
                    await done

    def _one(self, rng: Random) -> Process:
        return rng.choice([one for one in self.processes if not one.dead] or self.processes)

    async def _outage(self, rng: Random) -> None:
        """No process runs: records of all this time may come in one plan."""
        dedup = self.usual.dedup
        seconds = min((dedup.reach + dedup.window) / 1000, 7200) * rng.uniform(0.5, 2)
        self.say("world", f"no process runs for {seconds:.0f} s")
        self.may_run.clear()
        for process in self.processes:
            process.die("all are down")
        try:
            await asyncio.sleep(seconds)
        finally:
            self.may_run.set()

    def _trouble(self, name: str, rng: Random) -> None:
        self.say("store", name)
        self.store.troubles[name] = self.clock.monotonic() + rng.uniform(10, 900)

    def _cut(self, rng: Random) -> None:
        owner = self._one(rng).owner
        seconds = rng.choice((20.0, 120.0, 1800.0)) * rng.random()
        self.say("table", f"{owner} cannot reach it for {seconds:.0f} s")
        self.table.cut[owner] = self.clock.monotonic() + seconds

    def _restore(self, rng: Random) -> None:
        if self.table.go_back():
            self.say("table", "is restored to the rows of an hour ago")

    async def _wrong_dates(self, rng: Random) -> None:
        """A proxy's clock is wrong for a while. Not if local clocks are wrong: two wrong clocks outvote a right one."""
        if self.conditions.rate("clock.skew"):
            return
        off = int(rng.choice((1_200_000, HOUR_MS, 172_800_000)) * rng.random()) // 1000 * 1000
        if rng.random() < 0.3:
            off = -off
        self.say("stream", f"all Dates are wrong by {off / 1000:+.0f} s")
        self.dates_off_ms = off
        await asyncio.sleep(rng.uniform(30, 3600))
        self.say("stream", "all Dates are correct again")
        self.dates_off_ms = 0

    def _split(self, rng: Random) -> None:
        open_ = [s for s in self.stream.shards() if s.end_sequence is None]
        if len(open_) < 4:
            shard = rng.choice(open_)
            at = shard.start_hash + (shard.end_hash - shard.start_hash) // rng.choice((2, 2, 3)) + 1
            self.say("stream", f"{shard.id} splits: {self.stream.split(shard.id, at)}")

    def _merge(self, rng: Random) -> None:
        open_ = sorted((s for s in self.stream.shards() if s.end_sequence is None), key=lambda s: s.start_hash)
        if len(open_) > 1:
            at = rng.randrange(len(open_) - 1)
            child = self.stream.merge(open_[at].id, open_[at + 1].id)
            self.say("stream", f"{open_[at].id} and {open_[at + 1].id} merge: {child}")

    async def _advance(self, rng: Random) -> None:
        process = self._one(rng)
        if process.dead or process.app is None:
            return
        publisher = process.app.publisher
        now = self.clock.now_ms()
        bound = now - now % self.usual.publish.period - rng.choice((0, 0, 2)) * self.usual.publish.period
        shard = rng.choice(sorted(self.observer.logs) or [""])
        if shard and (head := self.observer.head(shard)) is not None and not head.footer.ended:
            self.say("operator", f"advances closed_before of {shard} to {moment(bound):%H:%M:%S}")
            advance = asyncio.ensure_future(publisher.advance(head.as_head(), bound))
            try:
                await asyncio.wait([advance])  # a process that dies cancels it, but must not end this task
            finally:
                advance.cancel()
            if not advance.cancelled():
                advance.result()


async def _live(seed: int, trace: bool, wanted: Sequence[str], fleet: bool) -> Outcome:
    world = World(seed, trace=trace, wanted=wanted, fleet=fleet)
    checker = world.observer
    try:
        await world.live()
    except Exception as problem:  # noqa: BLE001 - any error is the result of the run, with its log
        checker.violated(Invariant.SETTLES, f"the run failed: {problem!r}")
    return Outcome(seed, checker.violations, world.log, checker.numbers(), checker.digests())


def run(seed: int, *, trace: bool = False, wanted: Sequence[str] = (), fleet: bool = False) -> Outcome:
    """Run one seed. The `wanted` faults occur in any case.

    `fleet`: several workers share the shards by leases.
    """
    loggers = logging.getLogger("vortex")
    level = loggers.level
    loggers.setLevel(logging.CRITICAL + 1)
    # This program can read the newer segments; `StoreView` makes the older processes refuse them.
    trailer = vortex.core.log.segment.SEGMENT_TRAILER
    known = trailer.newest
    object.__setattr__(trailer, "newest", NEWER)
    collect = gc.get_threshold()
    gc.set_threshold(_COLLECT_AFTER, *collect[1:])
    try:
        return vtime.run(_live(seed, trace, wanted, fleet))
    except vtime.Stuck as problem:
        return Outcome(seed, [f"{Invariant.SETTLES}: {problem}"])
    finally:
        gc.set_threshold(*collect)
        loggers.setLevel(level)
        object.__setattr__(trailer, "newest", known)
