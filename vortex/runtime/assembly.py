"""Builds what runs in one process from an `Environment`: the only place where loops and ports meet.

The program, the simulation and the tests of the loops all build with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from vortex.config.settings import Settings
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.fields import Fields
from vortex.core.decode.limits import Limits
from vortex.core.fleet.balance import Roster
from vortex.core.fleet.lease import Lease
from vortex.core.fleet.store_mark import mark_of
from vortex.core.ingest.policy import Policy
from vortex.core.layout import Layout
from vortex.core.log.rules import StreamState
from vortex.core.log.segment import Footer
from vortex.core.model import ShardInfo
from vortex.core.native import IN_C
from vortex.core.periods import Rules
from vortex.fleet.fleet import Draining, Fleet
from vortex.fleet.lease_holder import Leases
from vortex.fleet.leased import LeasedFleet
from vortex.fleet.local import LocalFleet
from vortex.ingest.setup import CommitRules, IngestPorts
from vortex.ingest.worker import ShardWorker
from vortex.log.shard_tree import ShardTree
from vortex.log.store import LogStore
from vortex.publish.publisher import Publisher, PublisherPorts
from vortex.runtime.environment import Environment
from vortex.runtime.factories import first_start, table_name
from vortex.runtime.first_start import load_or_create_state

log = logging.getLogger(__name__)

OnCommit = Callable[[str, Footer], None]
WorkerFactory = Callable[[ShardInfo], ShardWorker]


def fields_of(settings: Settings) -> Fields:
    """The settings about events."""
    event = settings.event
    return Fields(
        event.customer,
        event.type,
        event.id,
        event.time,
        event.missing_id,
        event.lone_surrogates,
        event.max_bytes,
        event.time_format,
    )


def policy_of(settings: Settings, state: StreamState) -> Policy:
    """The settings for the processing of events."""
    fields = fields_of(settings)
    layout = Layout(settings.layout.path, settings.layout.rejected)
    settings_json = msgspec.json.encode([fields, layout.path, settings.publish.period, settings.hours.allowed_lateness])
    return Policy(
        decoder=Decoder(fields),
        layout=layout,
        rules=Rules(settings.publish.period, settings.hours.allowed_lateness),
        window_ms=settings.dedup.window,
        seed=state.seed,
        fingerprint=hashlib.sha256(settings_json).hexdigest()[:16],
        limits=Limits(**settings.limits.model_dump()),
    )


def publisher_of(
    env: Environment, state: StreamState, log_store: LogStore, roster: Callable[[], Roster] = Roster
) -> Publisher:
    """A publisher for the stream of these logs; alone, or one of the workers of `roster`."""
    ports = PublisherPorts(
        log_store, env.trusted, env.meter, env.offload, env.owner, env.scratch, env.stream, env.room, env.trim
    )
    return Publisher(state, env.rules, ports, roster)


async def loaded_state(env: Environment) -> tuple[StreamState, LogStore]:
    """The stream's state, made at the first start: by the lease table of a KCL application, if it left one behind.

    Raises ForeignState, ForeignTable.
    """
    if not IN_C:
        log.warning("the steps in C are not installed: events cost twice the CPU; a wheel has them")

    table = env.table

    async def leases() -> list[Lease]:
        assert table is not None
        await table.ensure()
        return await table.rows()

    return await load_or_create_state(
        env.stream,
        env.store,
        env.retry,
        first_start(env.settings),
        lateness_ms=env.settings.hours.allowed_lateness,
        seed=env.seed,
        older=lambda state, log_store: publisher_of(env, state, log_store),
        leases=None if table is None else leases,
        table=table_name(env.settings),
    )


def worker_factory(
    env: Environment, state: StreamState, log_store: LogStore, on_commit: OnCommit, lz4: Callable[[], bool]
) -> WorkerFactory:
    """Creates the workers of one process. They share its memory limit and its turns at reading and decoding.

    `lz4`: whether plans say that objects cannot copy most large members (`Plan.lz4`).
    """
    settings = env.settings
    compression = env.rules.compression
    policy = policy_of(settings, state)
    rules = CommitRules(settings.commit.every / 1000, settings.commit.max_bytes)
    ports = IngestPorts(
        env.stream,
        log_store,
        env.clock,
        env.meter,
        env.retry,
        env.offload,
        env.memory,
        env.owner,
        env.room,
        large=lambda: None if lz4() else compression,
    )

    def worker(shard: ShardInfo) -> ShardWorker:
        poll_s = settings.source.poll / 1000
        return ShardWorker(shard, state, policy, rules, ports, poll_s=poll_s, on_commit=on_commit)

    return worker


class Bounds:
    """How far the shards that run here are closed. `moved` is set when one of them closes more.

    Only that can move the frontier; to look at every commit would cost a listing of all logs.
    """

    def __init__(self) -> None:
        self.moved = asyncio.Event()
        self._closed_before: dict[str, int] = {}

    def committed(self, shard: str, footer: Footer) -> None:
        """A segment of the shard was committed to its log."""
        if footer.ended or footer.closed_before > self._closed_before.get(shard, footer.closed_before - 1):
            self._closed_before[shard] = footer.closed_before
            self.moved.set()


@dataclass(frozen=True, slots=True)
class Assembly:
    """The loops of one process, which `App` runs."""

    env: Environment
    fleet: Fleet
    publisher: Publisher
    worker: WorkerFactory
    bounds: Bounds
    draining: Draining | None
    """The fleet if it drains: it reads every shard to its tip and ends."""


def assemble(
    env: Environment,
    state: StreamState,
    log_store: LogStore,
    *,
    drain: bool = False,
    workers: Callable[[OnCommit], WorkerFactory] | None = None,
) -> Assembly:
    """Assemble fleet and publisher for this stream. `workers` can replace the workers that read the stream."""
    bounds = Bounds()

    def committed(shard: str, footer: Footer) -> None:
        fleet.committed(footer)
        bounds.committed(shard, footer)
        env.on_commit(shard, footer)

    publisher = publisher_of(env, state, log_store, lambda: fleet.roster)
    if workers is not None:
        worker = workers(committed)
    else:
        worker = worker_factory(env, state, log_store, committed, lambda: publisher.status.lz4)
    shard_tree = ShardTree(state, log_store, env.stream, env.retry)
    fleet: Fleet
    draining: Draining | None = None
    if drain:  # a single process reads every shard to its tip
        fleet = draining = LocalFleet(shard_tree, env.health, env.clock, worker, drain=True)
    elif env.table is None:
        fleet = LocalFleet(shard_tree, env.health, env.clock, worker)
    else:
        failover_s = env.settings.coordination.failover / 1000
        mark = mark_of(table_name(env.settings), env.store.url, state)
        leases = Leases(
            env.table, env.clock, env.retry, env.health, env.owner, env.token, failover_s, state.created, mark
        )
        fleet = LeasedFleet(shard_tree, leases, env.health, env.clock, worker)
    return Assembly(env, fleet, publisher, worker, bounds, draining)
