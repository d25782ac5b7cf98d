"""The real loops over memory, in virtual time: what tests of them start, kill and look at."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from simulation import vtime
from simulation.memstore import MemoryStore
from simulation.memstream import MemoryStream
from simulation.memtable import MemoryTable
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.fields import Fields
from vortex.core.fleet.balance import Roster
from vortex.core.ingest.shard_state import Policy
from vortex.core.layout import Layout
from vortex.core.log.rules import StreamState
from vortex.core.log.segment import parse_footer
from vortex.core.model import ShardInfo, Start
from vortex.core.periods import Rules
from vortex.fleet.local import LocalFleet
from vortex.ingest.memory import MemoryBudget
from vortex.ingest.worker import CommitRules, IngestPorts, ShardWorker
from vortex.log.shard_tree import ShardTree
from vortex.log.store import LogStore
from vortex.ports import Stream
from vortex.publish.publisher import Publisher, PublisherPorts, PublishRules
from vortex.retry import Health, Retry
from vortex.runtime.first_start import FirstStart, load_or_create_state
from vortex.runtime.trust import TrustedClock, TrustedStream
from vortex.verify.store import verify_store

MINUTE = 60_000


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
    look_s: float = 20
    """The publisher's pause."""
    start: Start = Start.TRIM_HORIZON
    health: Health = field(default_factory=Health)
    sent: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    table: MemoryTable = field(default_factory=MemoryTable)

    def __post_init__(self) -> None:
        self.clock = vtime.VirtualClock()
        self.store = MemoryStore(self.clock)
        self.stream = MemoryStream(self.clock, shards=self.shards, page_records=self.page_records, random=Random(1))
        self.rng = Random(2)
        self._starts = 0

    def put(self, name: str, key: str = "") -> None:
        """One event; its id is its partition key, unless told otherwise."""
        self.stream.put(key or name, json.dumps({"c": f"c{len(name) % 3}", "t": "v", "id": name}).encode())
        self.sent[name] += 1

    async def begin(self, kind: type[Worker] | None = None) -> Worker:
        """A worker from the beginning, as a restarted process is one."""
        self._starts += 1
        retry = Retry(self.clock, vtime.NullMeter(), self.health, Random(self._starts))
        rules = PublishRules(
            self.period_ms, 1 << 20, self.keep_ms, self.max_delay_ms, self.range_bytes, window_ms=self.window_ms
        )

        def publisher(state: StreamState, log_store: LogStore, roster: Callable[[], Roster] = Roster) -> Publisher:
            ports = PublisherPorts(log_store, self.trusted, vtime.NullMeter(), vtime.in_place, f"w{self._starts}")
            return Publisher(state, rules, ports, roster)

        self.trusted = TrustedClock(self.clock, self.health, vtime.NullMeter())
        state, log_store = await load_or_create_state(
            TrustedStream(self.seen_by(f"w{self._starts}"), self.trusted),
            self.store,
            retry,
            FirstStart(self.start),
            lateness_ms=MINUTE,
            seed=5,
            older=publisher,
            leases=self.table.rows,
        )
        made = (kind or Worker)(self, state, log_store, retry, f"w{self._starts}")
        made.begin(publisher(state, log_store, lambda: made.fleet.roster))
        return made

    def seen_by(self, owner: str) -> Stream:
        """The stream as one worker reads it."""
        return self.stream

    async def verified(self) -> None:
        """Every invariant holds, and every id that was sent lies in the store once."""
        report = await verify_store(self.store)
        assert report.faults == []
        lines = [json.loads(line)["id"] for line in self.lines("c=")]
        assert Counter(lines) == Counter(dict.fromkeys(self.sent, 1))
        assert len(self.lines("_rejected/")) == self.broken

    def gaps(self) -> list[str]:
        """What the logs that are still there say of records that could not be read."""
        segments = [(key, body) for key, body in self.store.objects.items() if key.endswith(".seg")]
        return [gap for key, body in segments if (gap := parse_footer(body, len(body), key)[0].gap)]

    def lines(self, prefix: str) -> list[bytes]:
        """Every line of the objects below a prefix."""
        bodies = [body for key, body in sorted(self.store.objects.items()) if key.startswith(prefix)]
        return [line for body in bodies for line in gzip.decompress(body).split(b"\n")[:-1]]


class Worker:
    """A fleet and a publisher, as in one process."""

    def __init__(self, world: World, state: StreamState, log_store: LogStore, retry: Retry, owner: str) -> None:
        self.world, self.state, self.log_store = world, state, log_store
        ports = IngestPorts(
            TrustedStream(world.seen_by(owner), world.trusted), log_store, world.clock, vtime.NullMeter(), retry,
            vtime.in_place, MemoryBudget(world.limit), owner, asyncio.Semaphore(8),
            lz4=lambda: self.publisher.status.lz4,
        )  # fmt: skip
        policy = Policy(
            Decoder(Fields(("c",), ("t",), ("id",), ("at",))),
            Layout("c={customer}/t={event_type}/d={date}/h={hour}", "_rejected/d={date}/h={hour}"),
            Rules(world.period_ms, MINUTE),
            world.window_ms,
            state.seed,
        )

        def make(shard: ShardInfo) -> ShardWorker:
            return ShardWorker(
                shard, state, policy, CommitRules(world.every_s, 1 << 20), ports, poll_s=world.poll_s,
                on_commit=lambda _, footer: self.fleet.committed(footer),
            )  # fmt: skip

        self.make = make
        self.shard_tree = ShardTree(state, log_store, ports.stream, retry)
        self.fleet = self._make_fleet(retry, owner)

    def begin(self, publisher: Publisher) -> None:
        """Read and publish."""
        self.publisher = publisher
        self.tasks = [asyncio.ensure_future(self.fleet.run()), asyncio.ensure_future(self._publish())]

    def _make_fleet(self, retry: Retry, owner: str) -> LocalFleet:
        return LocalFleet(self.shard_tree, self.world.health, self.world.clock, self.make)

    async def _publish(self) -> None:
        while True:
            if not await self.publisher.step():
                await self.world.clock.sleep(self.world.look_s)

    async def kill(self) -> None:
        """Everything in memory is gone."""
        for task in self.tasks:
            task.cancel()
        for result in await asyncio.gather(*self.tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result
