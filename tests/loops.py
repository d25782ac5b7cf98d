"""The real loops over memory, in virtual time: a world that tests start workers in, and inspect."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from simulation import vtime
from simulation.memstore import MemoryStore
from simulation.memstream import MemoryStream
from simulation.memtable import MemoryTable
from vortex.config.settings import Settings
from vortex.core.compression import Compression
from vortex.core.log.rules import StreamState
from vortex.core.log.segment import decompress_object, parse_footer
from vortex.core.model import Start
from vortex.health import Health
from vortex.ingest.memory import Limit
from vortex.log.store import LogStore
from vortex.ports import LeaseTable, Meter, Stream
from vortex.publish.publisher import Publisher, PublishRules
from vortex.retry import Retry
from vortex.runtime.assembly import assemble, loaded_state
from vortex.runtime.environment import Environment
from vortex.runtime.trust import TrustedClock, TrustedStream
from vortex.verify.store import verify_store

MINUTE = 60_000
FAILOVER_S = 10


@dataclass
class World:
    """One stream, one store, and as many workers as a test starts; virtual time, so it must be made inside the loop."""

    shards: int = 2
    period_ms: int = 5 * MINUTE
    keep_ms: int = 0
    window_ms: int = 60 * MINUTE
    limit: int = 1 << 30
    page_records: int = 10_000
    every_s: float = 30
    max_delay_ms: int | None = None
    poll_s: float = 1.0
    range_bytes: int = 1 << 30
    target: int = 1 << 20
    look_s: float = 20
    """The publisher's pause."""
    start: Start = Start.TRIM_HORIZON
    health: Health = field(default_factory=Health)
    meter: Meter = field(default_factory=vtime.NullMeter)
    service: str = "service"
    """What health calls the service of the stream."""
    limit_of: Limit | None = None
    """The limit of memory; None: `limit`."""
    sent: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    compression: Compression = Compression.GZIP
    bundle: int = 0
    """Partitions with fewer bytes in a period are bundled."""
    table: MemoryTable = field(default_factory=MemoryTable)

    def __post_init__(self) -> None:
        self.clock = vtime.VirtualClock()
        self.store = MemoryStore(self.clock)
        self.stream = MemoryStream(self.clock, shards=self.shards, page_records=self.page_records, random=Random(1))
        self.rng = Random(2)
        self._starts = 0

    def put(self, name: str, key: str = "") -> None:
        """Put one event. Its id is the partition key by default."""
        self.stream.put(key or name, json.dumps({"c": f"c{len(name) % 3}", "t": "v", "id": name}).encode())
        self.sent[name] += 1

    def settings(self) -> Settings:
        """What a worker runs with."""
        settings = Settings.model_validate(
            {
                "source": {"stream": self.stream.name, "start": self.start.name.lower()},
                "event": {"customer": "c", "type": "t", "id": "id", "time": "at"},
                "store": {"url": "file:///nowhere"},
                "layout": {
                    "path": "c={customer}/t={event_type}/d={date}/h={hour}",
                    "rejected": "_rejected/d={date}/h={hour}",
                    "compression": self.compression,
                },
                "commit": {"max_bytes": 1 << 20},
                "publish": {"target_object_size": 1 << 20},
            }
        )
        numbers: dict[str, dict[str, int]] = {
            "source": {"poll": int(self.poll_s * 1000)},
            "dedup": {"window": self.window_ms},
            "commit": {"every": int(self.every_s * 1000), "keep": self.keep_ms},
            "publish": {"period": self.period_ms},
            "hours": {"allowed_lateness": MINUTE},
            "coordination": {"failover": FAILOVER_S * 1000},
            "memory": {"limit": self.limit},
        }  # some of them outside the range for users
        return settings.model_copy(
            update={name: getattr(settings, name).model_copy(update=some) for name, some in numbers.items()}
        )

    async def begin(self, kind: type[Worker] | None = None) -> Worker:
        """Start a worker, as a restarted process does."""
        env = self.environment()
        state, log_store = await loaded_state(env)
        return (kind or Worker)(self, env, state, log_store)

    def environment(self) -> Environment:
        """What the next process has around it."""
        self._starts += 1
        owner, tokens = f"w{self._starts}", count()
        self.trusted = TrustedClock(self.clock, self.health, self.meter)
        return Environment(
            settings=self.settings(),
            rules=PublishRules(
                self.period_ms,
                self.target,
                self.keep_ms,
                self.max_delay_ms,
                self.range_bytes,
                window_ms=self.window_ms,
                compression=self.compression,
                piece_bytes=1,
                bundle=self.bundle,
            ),
            stream=TrustedStream(self.seen_by(owner), self.trusted),
            store=self.store,
            clock=self.clock,
            trusted=self.trusted,
            meter=self.meter,
            health=self.health,
            retry=Retry(self.clock, self.meter, self.health, Random(self._starts), self.service),
            offload=vtime.in_place,
            owner=owner,
            token=lambda: f"{owner}.{next(tokens)}",
            seed=5,
            table=self.table_of(owner),
            limit=self.limit_of,
        )

    def seen_by(self, owner: str) -> Stream:
        """The stream as one worker sees it."""
        return self.stream

    def table_of(self, owner: str) -> LeaseTable:
        """The lease table as one worker sees it."""
        return self.table

    async def verified(self) -> None:
        """Assert that every invariant holds, and that every id that was sent is published once."""
        report = await verify_store(self.store)
        assert report.faults == []
        lines = [json.loads(line)["id"] for line in self.lines("c=")]
        assert Counter(lines) == Counter(dict.fromkeys(self.sent, 1))
        assert len(self.lines("_rejected/")) == self.broken

    def gaps(self) -> list[str]:
        """The gaps that the remaining logs report."""
        segments = [(key, body) for key, body in self.store.objects.items() if key.endswith(".seg")]
        return [gap for key, body in segments if (gap := parse_footer(body, len(body), key)[0].gap)]

    def lines(self, prefix: str) -> list[bytes]:
        """Every line of the objects below a prefix."""
        bodies = [body for key, body in sorted(self.store.objects.items()) if key.startswith(prefix)]
        return [line for body in bodies for line in decompress_object(body, prefix).split(b"\n")[:-1]]


@contextlib.asynccontextmanager
async def cleaning(publisher: Publisher) -> AsyncIterator[None]:
    """Clean up meanwhile."""
    task = asyncio.ensure_future(publisher.clean_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Worker:
    """A fleet and a publisher, as in one process."""

    coordinated = False
    """Whether it shares the shards with others; otherwise it has all of them, whatever the lease table says."""
    drain = False

    def __init__(self, world: World, env: Environment, state: StreamState, log_store: LogStore) -> None:
        self.world, self.env, self.state, self.log_store = world, env, state, log_store
        if not self.coordinated:
            env.table = None
        self.loops = assemble(env, state, log_store, drain=self.drain)
        self.fleet, self.publisher = self.loops.fleet, self.loops.publisher
        self.tasks = [asyncio.ensure_future(each) for each in self.running()]

    def running(self) -> list[Coroutine[Any, Any, None]]:
        """Start reading and publishing."""
        return [self.fleet.run(), self._publish()]

    async def _publish(self) -> None:
        async with cleaning(self.publisher):
            while True:
                if not await self.publisher.step():
                    await self.world.clock.sleep(self.world.look_s)

    async def kill(self) -> None:
        """Kill the worker: everything in memory is lost."""
        for task in self.tasks:
            task.cancel()
        for result in await asyncio.gather(*self.tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


class Drainer(Worker):
    """Reads every shard to its tip, closes and publishes what it read, and ends."""

    drain = True

    def running(self) -> list[Coroutine[Any, Any, None]]:
        return [self._drain()]

    async def _drain(self) -> None:
        reading, draining = asyncio.ensure_future(self.fleet.run()), self.loops.draining
        assert draining is not None
        await draining.at_tip()
        draining.finish(await self.publisher.unpublished_end() or 0)
        await reading
        while await self.publisher.step():
            pass
