"""The real loops over memory, in virtual time: hours of work in a second, every line accounted for."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import pytest

from vortex.core.balance import Roster
from vortex.core.decode import Decoder
from vortex.core.fields import Fields
from vortex.core.ingestion import Policy
from vortex.core.layout import Layout
from vortex.core.model import ShardInfo, Start
from vortex.core.routing import Rules
from vortex.core.segment import parse_footer
from vortex.core.shardlog import StreamState
from vortex.family import Family
from vortex.fleet import LocalFleet
from vortex.ingest import CommitRules, IngestPorts, ShardWorker
from vortex.journal import Journal
from vortex.memory import MemoryBudget
from vortex.ports import Stream
from vortex.publisher import Publisher, PublisherPorts, PublishRules
from vortex.retry import Health, Retry
from vortex.start import FirstStart, ForeignState, take_up
from vortex.testing import vtime
from vortex.testing.memstore import MemoryStore
from vortex.testing.memstream import MemoryStream
from vortex.testing.memtable import MemoryTable
from vortex.verification import verify_store

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

    def put(self, name: str) -> None:
        """One event; its id is its partition key."""
        self.stream.put(name, json.dumps({"c": f"c{len(name) % 3}", "t": "v", "id": name}).encode())
        self.sent[name] += 1

    async def begin(self, kind: type[Worker] | None = None) -> Worker:
        """A worker from the beginning, as a restarted process is one."""
        self._starts += 1
        retry = Retry(self.clock, vtime.NullMeter(), self.health, Random(self._starts))
        rules = PublishRules(self.period_ms, 1 << 20, self.keep_ms, self.max_delay_ms, self.range_bytes)

        def publisher(state: StreamState, journal: Journal, roster: Callable[[], Roster] = Roster) -> Publisher:
            ports = PublisherPorts(journal, self.clock, vtime.NullMeter(), vtime.in_place, f"w{self._starts}")
            return Publisher(state, rules, ports, roster)

        state, journal = await take_up(
            self.stream,
            self.store,
            retry,
            FirstStart(self.start),
            lateness_ms=MINUTE,
            seed=5,
            older=publisher,
            leases=self.table.rows,
        )
        made = (kind or Worker)(self, state, journal, retry, f"w{self._starts}")
        made.begin(publisher(state, journal, lambda: made.fleet.roster))
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

    def __init__(self, world: World, state: StreamState, journal: Journal, retry: Retry, owner: str) -> None:
        self.world, self.state, self.journal = world, state, journal
        ports = IngestPorts(
            world.seen_by(owner), journal, world.clock, vtime.NullMeter(), retry, vtime.in_place,
            MemoryBudget(world.limit), owner, asyncio.Semaphore(8),
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
                shard, state, policy, CommitRules(world.every_s, 1 << 20), ports, target=1 << 20, poll_s=world.poll_s,
                on_commit=lambda _, footer: self.fleet.committed(footer),
            )  # fmt: skip

        self.make = make
        self.family = Family(state, journal, world.stream, retry, target=1 << 20)
        self.fleet = self._make_fleet(retry, owner)

    def begin(self, publisher: Publisher) -> None:
        """Read and publish."""
        self.publisher = publisher
        self.tasks = [asyncio.ensure_future(self.fleet.run()), asyncio.ensure_future(self._publish())]

    def _make_fleet(self, retry: Retry, owner: str) -> LocalFleet:
        return LocalFleet(self.family, self.world.health, self.world.clock, self.make)

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


def test_an_hour_of_traffic_with_a_split_a_merge_and_restarts() -> None:
    """Each id once, hours closed, logs cleaned up; nothing of it depends on who was killed when."""

    async def scenario() -> None:
        world = World()
        worker = await world.begin()
        for minute in range(150):
            for _ in range(10):
                world.put(f"id{len(world.sent)}")
                if world.rng.random() < 0.3:
                    world.put(world.rng.choice(list(world.sent)[-50:]))
            if minute % 10 == 0:
                world.stream.put("x", b"{broken")
                world.broken += 1
            if minute == 20:
                shard = next(s for s in world.stream.shards() if s.end_sequence is None)
                world.stream.split(shard.id, (shard.start_hash + shard.end_hash) // 2)
            if minute == 60:
                halves = [s.id for s in world.stream.shards() if s.parents and s.end_sequence is None]
                world.stream.merge(halves[0], halves[1])
            if minute % 17 == 16:
                await world.clock.sleep(world.rng.random() * 60)
                await worker.kill()
                worker = await world.begin()
            await world.clock.sleep(60)
        await world.clock.sleep(3600 * 2)
        await worker.kill()
        await world.verified()
        hours = [key for key in world.store.objects if key.startswith("_hours/")]
        assert len(hours) >= 3
        segments = [key for key in world.store.objects if key.endswith(".seg")]
        assert len(segments) < 60, "published segments are cleaned up"

    vtime.run(scenario())


@pytest.mark.parametrize("survivor", [0, 1])
@pytest.mark.parametrize("limit", [1 << 30, 2000])
def test_two_workers_share_nothing_and_still_publish_once(limit: int, survivor: int) -> None:
    """Both write every log; each lost race is resumed from the log, also where memory was full just then."""

    async def scenario() -> None:
        world = World(limit=limit)
        workers = [await world.begin(), await world.begin()]
        for _ in range(60):
            for _ in range(40):
                world.put(f"id{len(world.sent)}")
            await world.clock.sleep(20)
        await workers[1 - survivor].kill()
        for _ in range(60):
            world.put(f"id{len(world.sent)}")
            await world.clock.sleep(20)
        await world.clock.sleep(3600)
        await workers[survivor].kill()
        await world.verified()

    vtime.run(scenario())


def test_pressure_blocks_and_drops_nothing() -> None:
    """With room for two pages or so, everything is still read."""

    async def scenario() -> None:
        world = World(limit=20_000)
        for _ in range(3000):
            world.put(f"id{len(world.sent)}")
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_a_recreated_stream_begins_above_what_its_earlier_life_published() -> None:
    """What the earlier life left in its logs is published first; no key is written twice."""

    async def scenario() -> None:
        world = World()
        worker = await world.begin()
        for _ in range(20):
            world.put(f"old{len(world.sent)}")
            await world.clock.sleep(7)
        await world.clock.sleep(60)
        await worker.kill()
        world.stream.delete()
        await world.clock.sleep(2)
        world.stream.recreate(2)
        worker = await world.begin()
        for _ in range(20):
            world.put(f"new{len(world.sent)}")
            await world.clock.sleep(7)
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_what_a_window_has_forgotten_may_come_again_in_a_child() -> None:
    """The verification forgets as windows do: a parent's log that no floor names is out of the window as a whole."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10, window_ms=10 * MINUTE)
        worker = await world.begin()
        for _ in range(10):
            world.put(f"id{len(world.sent)}")
            await world.clock.sleep(60)
        parent = world.stream.shards()[0].id
        world.stream.split(parent, 1 << 127)
        await world.clock.sleep(30 * 60)
        for name in list(world.sent):
            world.put(name)
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert (await verify_store(world.store)).faults == []
        assert Counter(json.loads(line)["id"] for line in world.lines("c=")) == world.sent, "each twice"

    vtime.run(scenario())


class Drainer(Worker):
    """Reads to the tip of every shard, closes and publishes what was read, and ends."""

    def begin(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.tasks = [asyncio.ensure_future(self._drain())]

    def _make_fleet(self, retry: Retry, owner: str) -> LocalFleet:
        return LocalFleet(self.family, self.world.health, self.world.clock, self.make, drain=True)

    async def _drain(self) -> None:
        reading = asyncio.ensure_future(self.fleet.run())
        await self.fleet.at_tip()
        self.fleet.finish(await self.publisher.unpublished_end() or 0)
        await reading
        while await self.publisher.step():
            pass


@pytest.mark.parametrize("age_s", [0, 90, 900, 7200])
def test_a_drain_publishes_what_is_old_too(age_s: float) -> None:
    """At the tip the shard's bound follows the service's clock; what is not committed of that closes nothing."""

    async def scenario() -> None:
        world = World()
        for _ in range(20):
            world.put(f"id{len(world.sent)}")
        await world.clock.sleep(age_s)
        worker = await world.begin(Drainer)
        await asyncio.gather(*worker.tasks)
        await world.verified()

    vtime.run(scenario())


def test_a_shard_is_asked_once_a_second_at_its_tip_and_as_fast_as_allowed_behind_it() -> None:
    """Steady traffic: a call a second at most. A backlog of many pages: as many as Kinesis allows, and none refused."""

    async def scenario() -> None:
        world = World(shards=1)
        (shard,) = world.stream.shards()
        worker = await world.begin()
        for _ in range(600):
            world.put(f"id{len(world.sent)}")
            await world.clock.sleep(0.1)
        calls = world.stream.calls[shard.id]
        assert 55 <= len(calls) <= 62
        await worker.kill()
        world.stream.page_records = 10
        for _ in range(2000):
            world.put(f"id{len(world.sent)}")
        await world.clock.sleep(5)  # a lag of more than a second
        worker, before = await world.begin(), len(calls)
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()
        pauses = [later.at_s - earlier.at_s for earlier, later in pairwise(calls[before:])]
        behind = pauses[: pauses.index(next(pause for pause in pauses if pause > 0.9))]
        assert 200 <= len(behind) <= 235, "every page of the backlog, and what was not committed before"
        assert max(behind) == pytest.approx(0.25)
        assert {call.outcome for call in calls} == {"ok"}

    vtime.run(scenario())


def test_a_store_is_verified_while_it_is_written_to() -> None:
    """What is published or cleaned up under the eyes of the verification is no fault."""

    async def scenario() -> None:
        world = World(period_ms=MINUTE, window_ms=5 * MINUTE)
        worker = await world.begin()

        async def slowly(operation: str, key: str) -> None:
            await world.clock.sleep(0.02)

        seen = MemoryStore(world.clock, slowly)
        vars(seen).update({name: part for name, part in vars(world.store).items() if name != "before"})

        async def look() -> list[int]:
            looks = []
            while True:
                report = await verify_store(seen)
                assert report.faults == []
                looks.append(report.checked.get("objects", 0))
                if len(looks) == 60:
                    return looks
                await world.clock.sleep(30 * world.rng.random())

        looking = asyncio.ensure_future(look())
        while not looking.done():
            world.put(f"id{len(world.sent)}")
            await world.clock.sleep(5)
        await worker.kill()
        looks = await looking
        assert looks[-1] > 10

    vtime.run(scenario())


def test_latest_means_children_too() -> None:
    """A shard that was split before the first start ends without a record; its children were there before, too."""

    async def scenario() -> None:
        world = World(shards=1, start=Start.LATEST)
        for _ in range(3):
            world.stream.put("x", b"{}")
        world.stream.split(world.stream.shards()[0].id, 1 << 127)
        for number in range(20):
            world.stream.put(f"old{number}", b"{}")
        await world.clock.sleep(60)
        worker = await world.begin()
        await world.clock.sleep(600)
        for number in range(20):
            world.put(f"new{number}")
        world.stream.split(world.stream.shards()[1].id, 1 << 126)
        await world.clock.sleep(3600)
        await worker.kill()
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


def test_another_stream_is_refused() -> None:
    """Its name differs: two live streams would share keys."""

    async def scenario() -> None:
        world = World()
        await (await world.begin()).kill()
        world.stream = MemoryStream(world.clock, name="other", random=Random(3))
        with pytest.raises(ForeignState, match="prefix of its own"):
            await world.begin()

    vtime.run(scenario())


def test_a_trimmed_position_is_an_explicit_gap() -> None:
    """Down for longer than the retention: an error in the log and the health, and reading goes on."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10)
        worker = await world.begin()
        world.put("before")
        await world.clock.sleep(600)
        await worker.kill()
        world.put("lost")
        world.sent.pop("lost")
        await world.clock.sleep(30 * 3600)
        worker = await world.begin()
        world.put("after")
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert ["trimmed before they were read" in gap for gap in world.gaps()] == [True]
        await world.verified()

    vtime.run(scenario())


def test_a_child_that_is_read_too_late_begins_with_an_explicit_gap() -> None:
    """Its oldest record is not its first one any more, and nothing in the replies tells."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10)
        worker = await world.begin()
        world.put("before")
        await world.clock.sleep(600)
        await worker.kill()
        world.stream.split(world.stream.shards()[0].id, 1 << 127)
        for _ in range(20):
            world.put(f"lost{len(world.sent)}")
            world.sent.popitem()
            await world.clock.sleep(60)
        await world.clock.sleep(23.9 * 3600)
        kept = [f"kept{number}" for number in range(20)]
        for name in kept:
            world.put(name)
        worker = await world.begin()
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert sorted("may have been trimmed" in gap for gap in world.gaps()) == [False, True, True], (
            "the parent's, too"
        )
        report = await verify_store(world.store)
        assert report.faults == []
        assert {json.loads(line)["id"] for line in world.lines("c=")} >= {"before", *kept}

    vtime.run(scenario())


def test_an_idle_shard_that_nobody_looked_at_for_too_long_has_an_explicit_gap() -> None:
    """No record of it was ever read, so no position is older than the retention; still, some may be lost."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10)
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        world.stream.put("lost", b"{}")
        await world.clock.sleep(30 * 3600)
        worker = await world.begin()
        world.put("after")
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert ["may have been trimmed" in gap for gap in world.gaps()] == [True]
        await world.verified()

    vtime.run(scenario())


def test_a_shard_that_ends_without_an_iterator_says_what_may_be_lost() -> None:
    """It was closed and all its records trimmed before it was read: there is no page to tell of either."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10)
        world.stream.null_iterators = True
        worker = await world.begin()
        await world.clock.sleep(600)
        await worker.kill()
        world.stream.put("lost", b"{}")
        await world.clock.sleep(1800)
        world.stream.split(world.stream.shards()[0].id, 1 << 127)
        await world.clock.sleep(24 * 3600 - 600)
        world.put("after")
        worker = await world.begin()
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert len(world.gaps()) == 3, "its own, and those of its children, which may be as old"
        assert all("may have been trimmed" in gap for gap in world.gaps())
        await world.verified()

    vtime.run(scenario())


def test_an_iterator_that_falls_behind_the_retention_is_renewed() -> None:
    """A root without a log waits for its first read while its oldest records are trimmed: it is not stuck for ever."""

    async def scenario() -> None:
        world = World(shards=1)
        world.put("lost")
        world.sent.pop("lost")
        await world.clock.sleep(24 * 3600 - 30)
        world.put("kept")

        async def slowly(operation: str, shard: str) -> None:
            if operation == "read" and world.clock.monotonic() < 24 * 3600:
                await world.clock.sleep(60)

        world.stream.before = slowly
        worker = await world.begin()
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_a_shard_whose_bound_others_move_catches_up() -> None:
    """It moves every minute, and the shard would commit every two: without haste it would lose every race."""

    async def scenario() -> None:
        world = World(shards=1, page_records=2, period_ms=MINUTE, every_s=120, max_delay_ms=20 * MINUTE)
        worker = await world.begin()
        world.put("first")
        await world.clock.sleep(600)
        await worker.kill()
        for _ in range(2000):
            world.put(f"id{len(world.sent)}")
        await world.clock.sleep(2 * 3600)
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())
