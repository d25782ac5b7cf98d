"""The inputs of a shard worker: its commit rules, its ports, and the orders of its fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from vortex.core.compression import Compression
from vortex.ingest.commits import sealing_room
from vortex.ingest.memory import MemoryBudget, Turns
from vortex.log.store import LogStore
from vortex.ports import Clock, Meter, Offload, Stream
from vortex.retry import Retry
from vortex.under_way import BytesUnderWay


@dataclass(frozen=True, slots=True)
class CommitRules:
    """When a segment is cut: `every_s` after its first record, or at `max_bytes` of lines."""

    every_s: float
    max_bytes: int


@dataclass(slots=True)
class IngestPorts:
    """The ports of a shard worker."""

    stream: Stream
    log_store: LogStore
    clock: Clock
    meter: Meter
    retry: Retry
    offload: Offload
    memory: MemoryBudget
    owner: str
    room: BytesUnderWay
    """For records that decompress to much, and for other large work of the process."""
    large: Callable[[], Compression | None] = lambda: Compression.GZIP
    """How to compress large members: as objects are, or LZ4 (None) where most recently had a line left out."""
    turns: Turns = field(default_factory=Turns)
    sealing: BytesUnderWay = field(default_factory=sealing_room)


@dataclass(slots=True)
class Orders:
    """The orders of the fleet to a worker.

    `drain`: stop at the tip and wait for `finish`, which has the `closed_before` to close with.
    `lease_is_fresh`: whether the shard certainly still belongs to this worker. If not, a lost race ends the work.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    drain: bool = False
    at_tip: asyncio.Event = field(default_factory=asyncio.Event)
    finish: asyncio.Future[int] | None = None
    lease_is_fresh: Callable[[], bool] = lambda: True
