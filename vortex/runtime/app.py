"""The composition root: builds everything from the settings, runs it, and takes it down in order.

`service` runs it as a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from vortex import metrics
from vortex.adapters.aws.client import Session
from vortex.adapters.clock import SystemClock, ThreadOffload
from vortex.adapters.metrics import PrometheusMeter
from vortex.config.settings import Settings
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.fields import Fields
from vortex.core.decode.limits import Limits
from vortex.core.fleet.balance import Roster
from vortex.core.fleet.lease import Lease
from vortex.core.ingest.shard_state import Policy
from vortex.core.layout import Layout
from vortex.core.log.rules import BrokenLog, StreamState
from vortex.core.log.segment import CorruptSegment, Footer, OtherVersion
from vortex.core.model import ShardInfo
from vortex.core.native import native
from vortex.core.periods import Rules
from vortex.exits import Exit
from vortex.fleet.lease_holder import Leases
from vortex.fleet.leased import LeasedFleet
from vortex.fleet.local import LocalFleet
from vortex.ingest.memory import MemoryBudget
from vortex.ingest.worker import CommitRules, IngestPorts, ShardWorker
from vortex.log.shard_tree import ShardTree
from vortex.log.store import LogStore
from vortex.ports import Clock, LeaseTable, ObjectStore, Stream
from vortex.publish.object_writer import ForeignObject
from vortex.publish.publisher import Publisher, PublisherPorts, PublishRules
from vortex.retry import Health, Retry
from vortex.runtime.factories import aws_session, first_start, open_lease_table, open_store, open_stream
from vortex.runtime.first_start import load_or_create_state
from vortex.runtime.gauges import Gauges
from vortex.runtime.trust import TrustedClock, TrustedStream

log = logging.getLogger(__name__)

_READS = 8
"""GetRecords calls under way at once; each may bring 10 MiB, beyond `memory.limit`."""
_LOOK_AGAIN = 60.0
_SOON_LOOKS = 15
STOPS = (ForeignObject, BrokenLog, CorruptSegment, OtherVersion)


@dataclass(slots=True)
class Environment:
    """What one process is made of."""

    settings: Settings
    stream: Stream
    store: ObjectStore
    clock: SystemClock
    trusted: TrustedClock
    """What may close hours, and delete."""
    meter: PrometheusMeter
    health: Health
    retry: Retry
    offload: ThreadOffload
    owner: str
    table: LeaseTable | None
    """None where one process has every shard."""
    token: Callable[[], str]
    """A new one at every call: names an acquisition of a lease."""


@contextlib.asynccontextmanager
async def environment(settings: Settings) -> AsyncIterator[Environment]:
    """Everything that touches the world, opened and closed."""
    clock, meter, health, rng = SystemClock(), PrometheusMeter(), Health(), Random(secrets.randbits(64))
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"
    retry = Retry(clock, meter, health, rng, "kinesis")
    trusted = TrustedClock(clock, health, meter)
    session = aws_session(settings)
    session.credentials.count = lambda result: meter.add(metrics.CREDENTIAL_RENEWALS, result=result)
    async with (
        open_stream(settings, session) as told,
        open_store(settings, session, meter) as store,
        _coordinated(settings, session) as table,
    ):
        offload, stream = ThreadOffload(), TrustedStream(told, trusted)
        try:
            yield Environment(
                settings, stream, store, clock, trusted, meter, health, retry, offload, owner, table, _token
            )
        finally:
            offload.close()


def _token() -> str:
    return secrets.token_hex(8)


@contextlib.asynccontextmanager
async def _coordinated(settings: Settings, session: Session) -> AsyncIterator[LeaseTable | None]:
    if settings.coordination.mode == "local":
        yield None
        return
    async with open_lease_table(settings, session) as table:
        yield table


def policy_of(settings: Settings, state: StreamState) -> Policy:
    """What the settings say about an event's way."""
    event = settings.event
    fields = Fields(
        event.customer,
        event.type,
        event.id,
        event.time,
        event.missing_id,
        event.lone_surrogates,
        event.max_bytes,
        event.time_format,
    )
    layout = Layout(settings.layout.path, settings.layout.rejected)
    told = msgspec.json.encode([fields, layout.path, settings.publish.period, settings.hours.allowed_lateness])
    return Policy(
        decoder=Decoder(fields),
        layout=layout,
        rules=Rules(settings.publish.period, settings.hours.allowed_lateness),
        window_ms=settings.dedup.window,
        seed=state.seed,
        fingerprint=hashlib.sha256(told).hexdigest()[:16],
        limits=Limits(**settings.limits.model_dump()),
    )


def publish_rules(settings: Settings) -> PublishRules:
    """The publisher's share of the settings."""
    return PublishRules(
        period_ms=settings.publish.period,
        target=settings.publish.target_object_size,
        keep_ms=settings.commit.keep,
        max_delay_ms=settings.hours.max_delay,
        range_bytes=4 * settings.publish.target_object_size,
        part_rows=settings.publish.target_object_size // 256,
        window_ms=settings.dedup.window,
        reach_ms=settings.dedup.reach,
        keys_bytes=settings.memory.keys,
    )


def publisher_of(
    world: Environment, state: StreamState, log_store: LogStore, roster: Callable[[], Roster] = Roster
) -> Publisher:
    """A publisher for the stream whose journal it is; alone, or one of the workers of `roster`."""
    ports = PublisherPorts(log_store, world.trusted, world.meter, world.offload, world.owner)
    return Publisher(state, publish_rules(world.settings), ports, roster)


async def loaded_state(world: Environment) -> tuple[StreamState, LogStore]:
    """The stream's state, made at the first start: by the lease table of a KCL application, if it left one behind.

    Raises ForeignState.
    """
    if native is None:
        log.warning("the steps in C are not installed: events cost twice the CPU; a wheel has them")

    async def leases() -> list[Lease]:
        if world.table is None:
            return []
        await world.table.ensure()
        return await world.table.rows()

    return await load_or_create_state(
        world.stream,
        world.store,
        world.retry,
        first_start(world.settings),
        lateness_ms=world.settings.hours.allowed_lateness,
        seed=secrets.randbits(63),
        older=lambda state, log_store: publisher_of(world, state, log_store),
        leases=leases,
    )


class App:
    """One running process: the fleet, the publisher, and what tells the world about them."""

    def __init__(self, world: Environment, state: StreamState, log_store: LogStore, *, drain: bool = False) -> None:
        settings = world.settings
        self._world, self._drain = world, drain
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._read_out = asyncio.Event()
        """Set when no more will be read."""
        self._publishing = asyncio.Lock()
        self._failed = False
        self._bounds: dict[str, int] = {}
        memory = MemoryBudget(settings.memory.limit)
        policy = policy_of(settings, state)
        commit = CommitRules(settings.commit.every / 1000, settings.commit.max_bytes)
        ingest = IngestPorts(
            world.stream,
            log_store,
            world.clock,
            world.meter,
            world.retry,
            world.offload,
            memory,
            world.owner,
            asyncio.Semaphore(_READS),
            lz4=lambda: self.publisher.status.lz4,
        )

        def worker(shard: ShardInfo) -> ShardWorker:
            return ShardWorker(
                shard,
                state,
                policy,
                commit,
                ingest,
                poll_s=settings.source.poll / 1000,
                on_commit=self._committed,
            )

        shard_tree = ShardTree(state, log_store, world.stream, world.retry)
        self.fleet: LocalFleet | LeasedFleet
        if world.table is None or drain:  # draining, one process reads every shard to its tip by itself
            self.fleet = LocalFleet(shard_tree, world.health, world.clock, worker, drain=drain)
        else:
            failover_s = settings.coordination.failover / 1000
            leases = Leases(
                world.table, world.clock, world.retry, world.health, world.owner, world.token, failover_s, state.created
            )
            self.fleet = LeasedFleet(shard_tree, leases, world.health, world.clock, worker)
        self.publisher = publisher_of(world, state, log_store, lambda: self.fleet.roster)
        self.gauges = Gauges(
            world.meter, world.clock, self.fleet.workers, self.publisher.status, self.publisher.dedup.keys
        )

    def _committed(self, shard: str, footer: Footer) -> None:
        """Only a bound that moved can move the frontier; looking at every commit would cost a listing of all logs."""
        self.fleet.committed(footer)
        if footer.ended or footer.closed_before > self._bounds.get(shard, footer.closed_before - 1):
            self._bounds[shard] = footer.closed_before
            self._wake.set()

    def stop(self) -> None:
        """Stop reading, commit, publish what is committed."""
        if not self._stop.is_set():
            log.info("stopping: committing what was read")
        self._stop.set()
        self.fleet.stop()
        if len(self.fleet.roster.workers) > 1:
            self.publisher.leave()

    async def run(self) -> Exit:
        """Until stopped or drained, and all of it published (within the grace period, when stopped)."""
        fleet = asyncio.ensure_future(self.fleet.run())
        publishing = asyncio.ensure_future(self._publish_on())
        watching = asyncio.ensure_future(self._watch())
        stopping = asyncio.ensure_future(self._stop.wait())
        tasks = [fleet, publishing, watching, stopping]
        if isinstance(self.fleet, LocalFleet) and self._drain:
            tasks.append(asyncio.ensure_future(self._close_at_tip(self.fleet)))
        try:
            await asyncio.wait([fleet, publishing, watching, stopping], return_when=asyncio.FIRST_COMPLETED)
            clock, grace = self._world.clock, self._world.settings.shutdown.grace / 1000
            end = clock.monotonic() + grace if stopping.done() else None
            await _until(end, clock, fleet, publishing, watching)
            self._read_out.set()
            self._wake.set()
            await _until(end, clock, publishing, watching)
            if not (fleet.done() and publishing.done()):
                log.warning("the grace period is over; what was not committed is read again, nothing is lost")
            for task in tasks:
                if task.done():
                    task.result()
        except STOPS as problem:
            self._give_up(problem)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return Exit.LOST_STATE if self._failed or self.fleet.given_up else Exit.OK

    async def _close_at_tip(self, fleet: LocalFleet) -> None:
        """Draining: with all shards at their tip, what was read closes and is published."""
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

    def _give_up(self, problem: Exception) -> None:
        """A person must look at the store; the exit code says so."""
        self._world.health.bad("stream", str(problem))
        self._failed = True

    async def _publish_on(self) -> None:
        """Publish whenever the frontier moves; ends once nothing more will be read and all is published."""
        settings = self._world.settings
        alone = isinstance(self.fleet, LocalFleet)
        pause = max(1.0, min(30.0 if alone else 10.0, settings.publish.period / 2000))
        soon = 0
        """So many looks come a second apart: a bound has moved, so somebody will plan, and this worker help."""
        while True:
            soon = _SOON_LOOKS if self._wake.is_set() and not alone else max(0, soon - 1)
            self._wake.clear()
            last_look, rest = self._read_out.is_set(), 1.0 if soon else pause
            try:
                async with self._publishing:
                    more = await self.publisher.step()
                self._world.health.good("publisher")
            except STOPS as problem:
                self._world.health.bad("publisher", str(problem))
                if last_look:
                    self._failed = True
                    return
                more, rest = False, _LOOK_AGAIN
            if self.publisher.left and last_look:
                return  # the others see to it
            if more:
                continue
            if last_look:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), rest)

    async def _watch(self) -> None:
        """Keep the gauges fresh, also while the stream does not answer; and compare the clocks."""
        comparing = asyncio.ensure_future(self._compare_clocks())
        try:
            while not comparing.done():
                self.gauges.update()
                await self._world.clock.sleep(2.0)
            comparing.result()
        finally:
            comparing.cancel()

    async def _compare_clocks(self) -> None:
        world = self._world
        while True:
            await world.retry("server time", world.stream.server_time)  # tells of clocks that disagree
            await world.clock.sleep(_LOOK_AGAIN)

    def ready(self) -> list[tuple[str, bool, str]]:
        """For /readyz: name, well or not, detail."""
        troubles = self._world.health.report()
        rows = [(name, False, detail) for name, detail in sorted(troubles.items())]
        reading = bool(self.fleet.workers or self.fleet.roster.workers)  # of a fleet one may stand by
        return [*rows, ("shards", reading, f"{len(self.fleet.workers)} shards are read")]


async def _until(end: float | None, clock: Clock, *tasks: asyncio.Future[Any]) -> None:
    """Until one of the tasks ends, or the time has come (None: whatever it takes)."""
    timeout = None if end is None else max(0.0, end - clock.monotonic())
    await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
