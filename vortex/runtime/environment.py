"""The environment of one process: its ports, opened from the settings and closed again.

A test or a simulation makes an `Environment` of its own, from doubles; everything else is the same (`assembly`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from vortex import metrics
from vortex.adapters.aws.client import Session
from vortex.adapters.clock import SystemClock, ThreadOffload
from vortex.adapters.disk.scratch import TemporaryScratch
from vortex.adapters.heap import trim
from vortex.adapters.kinesis.stream import KinesisStream
from vortex.adapters.usable_memory import usable_bytes
from vortex.config.settings import Settings
from vortex.core.compression import Compression
from vortex.core.log.segment import Footer
from vortex.core.memory import LEAST_AUTO, MIB, AutoLimit, part_of, process_bytes, room_bytes, shard_bytes
from vortex.core.publish.bundles import BUNDLE_BYTES
from vortex.health import Health
from vortex.ingest.memory import Limit, MemoryBudget
from vortex.ports import Clock, LeaseTable, Meter, ObjectStore, Offload, Scratch, Stream
from vortex.publish.copies import NoScratch
from vortex.publish.publisher import PublishRules
from vortex.retry import Retry
from vortex.runtime.factories import aws_session, open_lease_table, open_store, open_stream
from vortex.runtime.trust import TrustedClock, TrustedStream
from vortex.under_way import BytesUnderWay


def _unheard(shard: str, footer: Footer) -> None:
    """Ignore the commit."""


def _nothing() -> None:
    """Do nothing."""


@dataclass(slots=True)
class Environment:
    """The ports and settings of one process."""

    settings: Settings
    rules: PublishRules
    """The publisher's share of the settings."""
    stream: Stream
    store: ObjectStore
    clock: Clock
    trusted: Clock
    """The time that may close hours and delete data."""
    meter: Meter
    health: Health
    retry: Retry
    offload: Offload
    owner: str
    token: Callable[[], str]
    """Returns a new token at every call; it identifies one acquisition of a lease."""
    seed: int
    """The seed of a new stream for the hashes that identify duplicates."""
    scratch: Scratch = field(default_factory=NoScratch)
    """Room on disk while a plan is published."""
    table: LeaseTable | None = None
    """None if one process runs every shard."""
    on_commit: Callable[[str, Footer], None] = _unheard
    """Called for every commit, with the shard."""
    trim: Callable[[], None] = _nothing
    """Gives free memory back to the system."""
    limit: Limit | None = None
    """The limit of memory; None: as the settings say, on a small machine."""
    room: BytesUnderWay = field(init=False)
    """Memory for large work of ingest and publishing together."""
    memory: MemoryBudget = field(init=False)
    """Memory for what is read and not committed."""

    def __post_init__(self) -> None:
        limit = self.limit or memory_limit(self.settings, usable=0)
        self.room = BytesUnderWay(room_bytes(limit(0, 0)))
        self.memory = MemoryBudget(limit, lambda limit: self.room.resize(room_bytes(limit // _FOLLOWS)))


_FOLLOWS = 2
"""The room for large work follows a limit that changes at half the pace, so that eight shards publish within as little
memory as four. The formula of memory counts the whole, and so stays a bound.
"""


def memory_limit(settings: Settings, usable: int) -> Limit:
    """memory.limit, where the process may use so many bytes."""
    limit = settings.memory.limit
    if limit != "auto":
        return lambda at_tip, shards: limit
    commit = settings.commit
    gathered = shard_bytes(min(commit.every, settings.publish.period), commit.max_bytes)
    return AutoLimit(gathered, settings.memory.keys, usable)


def too_little_memory(settings: Settings, usable: int) -> str:
    """What to do where a process may use fewer bytes than it may need with these settings; empty if it has enough.

    Shards do not count: most have fewer events than `memory.keys` has room for.
    """
    limit = LEAST_AUTO if settings.memory.limit == "auto" else settings.memory.limit
    needed = process_bytes(limit, settings.memory.keys, shards=0)
    if usable >= needed:
        return ""
    return (
        f"a process may use {usable // MIB:,} MiB here, and may need {needed // MIB:,} MiB with these settings: the "
        "system may kill it. Give it more, or set less in memory.limit and memory.keys, in bytes"
    )


def publish_rules(settings: Settings) -> PublishRules:
    """The publisher's share of the settings."""
    return PublishRules(
        period_ms=settings.publish.period,
        target=settings.publish.target_object_size,
        keep_ms=settings.commit.keep,
        max_delay_ms=settings.hours.max_delay,
        range_bytes=4 * settings.publish.target_object_size,
        piece_bytes=settings.publish.target_object_size // 4,
        part_rows=settings.publish.target_object_size // 256,
        window_ms=settings.dedup.window,
        reach_ms=settings.dedup.reach,
        keys_bytes=settings.memory.keys,
        compression=Compression(settings.layout.compression),
        bundle=min(settings.layout.small, settings.publish.target_object_size, BUNDLE_BYTES),
    )


@contextlib.asynccontextmanager
async def open_environment(settings: Settings, meter: Meter, processes: int = 1) -> AsyncIterator[Environment]:
    """Open all ports, and close them again. `processes`: workers that share this machine's memory."""
    clock, rng = SystemClock(), Random(secrets.randbits(64))
    health = Health(clock.now_ms)
    trusted = TrustedClock(clock, health, meter)
    session = aws_session(settings)
    session.credentials.count = lambda result: meter.add(metrics.CREDENTIAL_RENEWALS, result=result)
    async with (
        open_stream(settings, session) as stream,
        open_store(settings, session, meter) as store,
        _coordinated(settings, session) as table,
    ):
        offload = ThreadOffload()
        try:
            yield Environment(
                settings=settings,
                rules=publish_rules(settings),
                stream=TrustedStream(stream, trusted),
                store=store,
                clock=clock,
                trusted=trusted,
                meter=meter,
                health=health,
                retry=Retry(clock, meter, health, rng, "kinesis"),
                offload=offload,
                owner=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}",
                token=lambda: secrets.token_hex(8),
                seed=secrets.randbits(63),
                scratch=TemporaryScratch(settings.publish.scratch),
                table=table,
                trim=partial(_trim, stream),
                limit=memory_limit(settings, part_of(usable_bytes(), processes)),
            )
        finally:
            offload.close()


def _trim(stream: KinesisStream) -> None:
    """Give back free memory, with the buffers for replies: reading needs new ones soon, but fewer than before."""
    stream.forget_buffers()
    trim()


@contextlib.asynccontextmanager
async def _coordinated(settings: Settings, session: Session) -> AsyncIterator[LeaseTable | None]:
    if settings.coordination.mode == "local":
        yield None
        return
    async with open_lease_table(settings, session) as table:
        yield table
