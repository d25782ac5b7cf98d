"""A large fleet in virtual time: `python -m tests.simulation.fleet --shards 1000 --workers 50`.

Balance, leases, table, plans and ranges are the real ones; what reads a shard is a stand-in, which commits a real,
small segment as often as a worker would. It tells how long balance takes from several starts, and how many requests go
to the lease table and the store in a minute, with their price in us-east-1: DynamoDB on demand at $0.625 a million
writes, $0.125 a million reads of 4 KB (https://aws.amazon.com/dynamodb/pricing/on-demand/), S3 at $5 a million PUT and
LIST, $0.40 a million GET (https://aws.amazon.com/s3/pricing/).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import cast

import msgspec

from simulation import vtime
from simulation.memstore import MemoryStore
from simulation.memstream import MemoryStream
from simulation.memtable import MemoryTable
from vortex.adapters.dynamodb.lease_row import write_row
from vortex.config.settings import Settings
from vortex.core.fleet.balance import weights
from vortex.core.fleet.lease import Lease
from vortex.core.log.lines import LineTable
from vortex.core.log.rules import SegmentHeader, SegmentRef, StreamState, first_footer, log_start
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Counts, Folder, Footer, folder_hash
from vortex.core.model import ShardInfo
from vortex.fleet.fleet import Fleet
from vortex.health import Health
from vortex.ingest.setup import Orders
from vortex.ingest.status import ShardStatus
from vortex.ingest.worker import ShardWorker
from vortex.log.store import LogStore
from vortex.publish.publisher import Publisher, PublishRules
from vortex.retry import Retry
from vortex.runtime.assembly import OnCommit, WorkerFactory, assemble, loaded_state
from vortex.runtime.environment import Environment

LIMIT_S = 120.0
"""The time within which balance must be reached, from any start."""
LATENESS_MS = 60_000
TARGET = 64 << 20
MONTH = 60 * 24 * 30.4
WRITE, READ, PUT, GET = 0.625e-6, 0.125e-6, 5e-6, 0.4e-6


@dataclass
class StandIn:
    """A stand-in for a shard worker: it resumes the log, commits, and stops on request."""

    shard: ShardInfo
    world: World
    log_store: LogStore
    on_commit: OnCommit
    orders: Orders = field(default_factory=Orders)
    next_at: float = 0.0

    def __post_init__(self) -> None:
        self._begun = self.world.clock.monotonic()

    @property
    def status(self) -> ShardStatus:
        """With the bytes read so far: traffic is even."""
        read = self.world.rate(self.shard.id) * (self.world.clock.monotonic() - self._begun)
        return ShardStatus(self.shard.id, totals=Counts(bytes=int(read)))

    async def run(self) -> Footer | None:
        """Run until a stop, or until the shard is lost."""
        plan = await self.log_store.last_plan(self.world.state)
        newest = await self.log_store.newest(self.shard.id, plan.shards.get(self.shard.id))
        head: SegmentRef = newest or log_start(self.shard.id)
        pause = self.world.commit_s * self.world.rng.random()
        while not self.orders.stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.orders.stop.wait(), pause)
            pause = self.world.commit_s
            sealed = seal(self._footer(head), [self._cell()], LineTable.of([[b"{}"]]), self.world.rng.randbytes(16))
            if not await self.log_store.commit(self.shard.id, sealed):
                self.world.lost_races += 1
                return None
            head = SegmentHeader(self.shard.id, sealed.footer.n, sealed.digest, sealed.footer)
            self.on_commit(self.shard.id, sealed.footer)
        return None

    def _period(self) -> int:
        now = self.world.clock.now_ms()
        return now - now % self.world.rules.period_ms

    def _cell(self) -> Cell:
        path = f"customer=c{self.world.rng.randrange(100)}/hour=x"
        return Cell(Folder(path, folder_hash(path)), self._period())

    def _footer(self, head: SegmentRef) -> Footer:
        begins = self.world.state.roots[0].position
        first = first_footer(
            self.shard, begins, 0, self.world.state.closed_before, owner="", created=self.world.clock.now_ms()
        )
        now = self.world.clock.now_ms()
        closed = now - LATENESS_MS
        bound = max(
            closed - closed % self.world.rules.period_ms,
            (head.footer if isinstance(head, SegmentHeader) else first).closed_before,
        )
        counts = Counts(records=1, events=1, accepted=1)
        return msgspec.structs.replace(
            first, n=head.n + 1, prev=head.digest, watermark=now, closed_before=bound, counts=counts,
            periods={}, arrived=(now, now),
        )  # fmt: skip


class World:
    """One stream, one table, one store, and the workers."""

    def __init__(self, shards: int, commit_s: float, failover_s: float, rules: PublishRules, skewed: bool) -> None:
        self.clock, self.rng = vtime.VirtualClock(), Random(1)
        self.commit_s, self.failover_s, self.rules, self.skewed = commit_s, failover_s, rules, skewed
        self.stream = MemoryStream(self.clock, shards=shards, limits=False)
        self.table, self.store = MemoryTable(), MemoryStore(self.clock)
        self.calls: Counter[str] = Counter()
        self.table.before, self.store.before = self._table_call, self._store_call
        self.lost_races = 0
        self.steals = 0
        self.state: StreamState
        self.workers: dict[str, tuple[Fleet, list[asyncio.Task[None]]]] = {}
        self._names = 0

    async def begin(self) -> None:
        """The first start."""
        self.state, log_store = await loaded_state(self._environment("first", 0))
        self._root = log_store.root

    def _environment(self, owner: str, seed: int) -> Environment:
        settings = Settings.model_validate(
            {
                "source": {"stream": self.stream.name},
                "event": {"customer": "c", "type": "t", "id": "id", "time": "at"},
                "store": {"url": "file:///nowhere"},
                "hours": {"allowed_lateness": f"{LATENESS_MS}ms"},
                "coordination": {"mode": "dynamodb", "failover": f"{self.failover_s}s"},
            }
        )
        health = Health()
        return Environment(
            settings=settings,
            rules=self.rules,
            stream=self.stream,
            store=self.store,
            clock=self.clock,
            trusted=self.clock,
            meter=vtime.NullMeter(),
            health=health,
            retry=Retry(self.clock, vtime.NullMeter(), health, Random(seed)),
            offload=vtime.in_place,
            owner=owner,
            token=lambda: f"{self.rng.getrandbits(64):016x}",
            seed=1,
            table=self.table,
        )

    async def _table_call(self, operation: str, key: str) -> None:
        self.calls[f"table {operation}"] += 1
        if operation == "rows":
            size = sum(_item_bytes(row) for row in self.table.table.values())
            self.calls["read units"] += -(-size // 4096)
        if operation == "take" and self.table.table[key].owner is not None:
            self.steals += 1
        await asyncio.sleep(self.rng.uniform(0.003, 0.010))

    async def _store_call(self, operation: str, key: str) -> None:
        what = operation
        if operation == "put":
            what = "put segment" if key.endswith(".seg") else "put other"
        self.calls[f"store {what}"] += 1
        await asyncio.sleep(self.rng.uniform(0.01, 0.03))

    def rate(self, shard: str) -> float:
        """Bytes a second; if skewed, every fiftieth shard gets twenty times as much."""
        return 1_000_000.0 if self.skewed and int(shard[-12:]) % 50 == 0 else 50_000.0

    def start(self) -> str:
        """Start a worker; its name."""
        self._names += 1
        name = f"host-{self._names}:{1000 + self._names}:{self.rng.getrandbits(64):016x}"
        env = self._environment(name, self._names)
        log_store = LogStore(self.store, self._root, env.retry)

        def workers(on_commit: OnCommit) -> WorkerFactory:
            return lambda shard: cast(ShardWorker, StandIn(shard, self, log_store, on_commit))

        loops = assemble(env, self.state, log_store, workers=workers)
        publishing = _publish(loops.publisher, loops.bounds.moved)
        running = [asyncio.ensure_future(loops.fleet.run()), asyncio.ensure_future(publishing)]
        self.workers[name] = (loops.fleet, running)
        return name

    async def stop(self, name: str, *, politely: bool) -> None:
        """SIGTERM, or SIGKILL."""
        fleet, (reading, publishing) = self.workers.pop(name)
        if politely:
            fleet.stop()
            await reading
        for task in (reading, publishing):
            task.cancel()
        await asyncio.gather(reading, publishing, return_exceptions=True)

    def loads(self) -> Counter[str]:
        """The load of each running worker, in ordinary shards."""
        weight = weights(self.table.table.values())
        loads = {name: sum(weight[shard] for shard in fleet.workers) for name, (fleet, _) in self.workers.items()}
        return Counter(loads)

    def balanced(self) -> bool:
        """Every shard is read by one worker, and no worker has two ordinary shards more to do than another."""
        loads = self.loads()
        read = [shard for fleet, _ in self.workers.values() for shard in fleet.workers]
        whole = len(read) == len(set(read)) == len(self.state.roots)
        return whole and max(loads.values()) - min(loads.values()) <= 1

    async def rest(self) -> float:
        """Wait for balance; the seconds it took. Raises AssertionError after the limit."""
        begun = self.clock.monotonic()
        while not self.balanced():
            await self.clock.sleep(0.5)
            took = self.clock.monotonic() - begun
            assert took <= LIMIT_S, f"not balanced after {took:.0f} s: {sorted(self.loads().values())}"
        return self.clock.monotonic() - begun


async def _publish(publisher: Publisher, wake: asyncio.Event) -> None:
    """As the program does."""
    while True:
        wake.clear()
        if not await publisher.step():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), 10.0)


def _item_bytes(lease: Lease) -> int:
    """The size of a row as DynamoDB counts it: names and values, numbers at two digits a byte."""
    size = 0
    for name, value in write_row(lease).items():
        ((kind, content),) = value.items()
        many = content if isinstance(content, list) else [content]
        size += len(name) + sum(len(one) // 2 + 1 if kind == "N" else len(one) for one in many)
    return size


def prices(calls: Counter[str], minutes: float) -> list[tuple[str, float, float]]:
    """Rows of what, how many a minute, and dollars a month."""
    rows = []
    for what, count in sorted(calls.items()):
        each = WRITE if what.startswith("table") else READ if what == "read units" else PUT
        if what == "table rows":
            each = 0.0  # priced by the read units
        elif what == "store get":
            each = GET
        elif what == "store delete":
            each = 0.0
        rows.append((what, count / minutes, count / minutes * MONTH * each))
    return rows


async def run(options: argparse.Namespace) -> None:
    """Every start, then the steady state."""
    rules = PublishRules(options.period * 1000, TARGET, 86_400_000, range_bytes=options.range_bytes, piece_bytes=1)
    world = World(options.shards, options.commit, options.failover, rules, options.skewed)
    await world.begin()
    first = world.start()
    for _ in range(options.workers - 1):
        world.start()
    print(f"all start at once, no lease is there: balanced in {await world.rest():.1f} s, {world.steals} steals")
    names = list(world.workers)
    await world.clock.sleep(60)
    await world.stop(names[1], politely=True)
    print(f"one stops politely: balanced in {await world.rest():.1f} s")
    await world.clock.sleep(60)
    await world.stop(names[2], politely=False)
    print(f"one dies: balanced in {await world.rest():.1f} s")
    world.start()
    print(f"one joins: balanced in {await world.rest():.1f} s")
    world.start()
    print(f"another joins: balanced in {await world.rest():.1f} s")
    await world.clock.sleep(max(120.0, 2.0 * options.period))
    await steady(world, options)
    for name in [name for name in world.workers if name != first]:
        await world.stop(name, politely=True)
    while world.loads()[first] < options.shards:
        await world.clock.sleep(1)
    for _ in range(options.workers - 1):
        world.start()
    print(f"one has all, the others start at once: balanced in {await world.rest():.1f} s")
    for name in list(world.workers):
        await world.stop(name, politely=False)


async def steady(world: World, options: argparse.Namespace) -> None:
    """Requests a minute, and what they cost."""
    world.calls.clear()
    steals, races, begun = world.steals, world.lost_races, world.clock.monotonic()
    await world.clock.sleep(options.minutes * 60)
    minutes = (world.clock.monotonic() - begun) / 60
    print(f"{minutes:.0f} minutes at rest: {world.steals - steals} steals, {world.lost_races - races} lost races")
    assert world.calls["store put other"], "nothing was published"
    assert options.skewed or world.steals == steals, "a fleet at rest stays still"
    total = 0.0
    for what, often, price in prices(world.calls, minutes):
        total += price
        print(f"  {what:18} {often:10,.1f} a minute  ${price:8,.2f} a month")
    print(f"  {'together':18} {'':10}           ${total:8,.2f} a month")


def main(arguments: list[str] | None = None) -> int:
    """0 when balance comes in time and stays."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.fleet", description=__doc__)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10, help="of rest to measure")
    parser.add_argument("--failover", type=float, default=10.0, help="seconds")
    parser.add_argument("--period", type=int, default=300, help="publish.period in seconds")
    parser.add_argument("--commit", type=float, default=30.0, help="commit.every in seconds")
    parser.add_argument("--range-bytes", type=int, default=4 * TARGET, help="smaller: plans of more ranges")
    parser.add_argument("--skewed", action="store_true", help="some shards get twenty times what others get")
    options = parser.parse_args(arguments)
    logging.getLogger("vortex").setLevel(logging.CRITICAL)
    begun = time.perf_counter()
    vtime.run(run(options))
    print(f"{time.perf_counter() - begun:.0f} s of real time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
