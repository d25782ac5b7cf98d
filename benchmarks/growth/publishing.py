"""Curves of publishing: the requests of a plan, and what listing its objects takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from random import Random
from unittest.mock import patch

import vortex.core.log.sealing
import vortex.publish.copies
import vortex.publish.object_writer
from benchmarks.growth.ground import PERIOD_MS, ROOT, T0, CountingStore, Traffic, fill, folders, full_segments, segment
from simulation import vtime
from simulation.simscratch import SimScratch
from vortex.core.dedup.index import FINGERPRINT_BYTES
from vortex.core.fleet.balance import Roster
from vortex.core.log.rules import SegmentHeader, StreamState
from vortex.core.log.segment import MEMBER, Cell
from vortex.core.publish.members import members_of
from vortex.core.publish.plan import LogView, Plan, PlanShard
from vortex.health import Health
from vortex.log.store import LogStore
from vortex.publish.publisher import Publisher, PublisherPorts, PublishRules
from vortex.retry import Retry
from vortex.under_way import BytesUnderWay


def views_of(number: int, members: int) -> tuple[Plan, dict[str, LogView]]:
    """A plan of so many segments with so many members each, ten segments a shard."""
    cells = {Cell(folder, T0): [b'{"id":1}'] for folder in folders(members)}
    sealed = segment("shardId", 0, "", T0 + PERIOD_MS, cells)
    views = {}
    for shard in range(-(-number // 10)):
        several = min(10, number - 10 * shard)
        name = f"shardId-{shard:012d}"
        views[name] = LogView([SegmentHeader(name, n, sealed.digest, sealed.footer) for n in range(several)])
    entries = {name: PlanShard(first=0, to=len(view.headers) - 1) for name, view in views.items()}
    return Plan(k=0, after=T0, upto=T0 + PERIOD_MS, shards=entries, target=64 << 20), views


def listed(segments: int, members: int = 2000) -> tuple[float, int]:
    """CPU seconds in which the objects of a plan are listed, and how many pieces they have."""
    plan, views = views_of(segments, members)
    begun, pieces = time.process_time(), 0
    ordered = members_of(plan, views, {})
    for first, last in ordered.chunks():
        pieces += sum(len(spec.pieces) for spec in ordered.objects(plan.target, first, last))
    return time.process_time() - begun, pieces


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the figures depend on, all a hundredth of the shipped sizes: so a machine can hold 32 shards."""

    copy_bytes: int = 655_360
    index_bytes: int = 1_300_000
    scratch: int = 42_949_672
    target: int = 655_360
    batch: int = 327_680
    near: int = 2_560
    alone: int = 327
    shared: int = 2_621
    batches: int = 4_530_000
    request: int = 167_772
    under_way: int = 671_089
    part_rows: int = 1000
    keys_bytes: int = 10_737_418
    bundle: int = 0


FULL_RATE = Traffic(commits=10, partitions=100, size=60_000)
"""A shard at full rate, a hundredth of it: 6 MB compressed in 30 seconds."""


def published(
    shards: int, traffic: Traffic = FULL_RATE, sizes: Sizes | None = None, workers: int = 1
) -> tuple[CountingStore, int]:
    """The store after one plan over this traffic, and its segments with lines."""
    return vtime.run(_published(shards, traffic, sizes or Sizes(), workers))


async def _published(shards: int, traffic: Traffic, sizes: Sizes, workers: int) -> tuple[CountingStore, int]:
    store = CountingStore(vtime.VirtualClock(T0 + 2 * PERIOD_MS))
    with sized(sizes):
        state = fill(store, shards, traffic)
        await _publish(store, state, sizes, workers)
    return store, shards * traffic.commits


@dataclass(frozen=True, slots=True)
class InParts:
    """What a plan took whose keys do not fit into one worker: GETs of segments, and of everything else."""

    parts: int
    segment_gets: int
    other_gets: int


def decided_in_parts(shards: int, workers: int, traffic: Traffic = FULL_RATE) -> InParts:
    """What the second plan takes, in half as many parts as workers: two with four workers."""
    return vtime.run(_decided_in_parts(shards, workers, traffic))


async def _decided_in_parts(shards: int, workers: int, traffic: Traffic) -> InParts:
    store = CountingStore(vtime.VirtualClock(T0 + 3 * PERIOD_MS))
    known = 2 * shards * traffic.commits * traffic.partitions * traffic.rows
    sizes = Sizes(part_rows=1, keys_bytes=int(known / (workers / 2.1) * FINGERPRINT_BYTES))
    with sized(sizes):
        state = fill(store, shards, traffic, periods=2)
        later = {key: body for key, body in store.objects.items() if _number(key) > traffic.commits}
        for key in later:
            store.delete_now(key)
        await _publish(store, state, sizes, workers)
        for key, body in later.items():
            store.put_now(key, body)
        store.requests.clear()
        await _publish(store, state, sizes, workers, k=1)
    segment_gets = store.requests["get segment"]
    parts = sum("/dedup/0000000001-" in key and not key.endswith("-ids") for key in store.objects)
    return InParts(parts, segment_gets, store.gets() - segment_gets)


def _number(key: str) -> int:
    return int(key[-16:-4]) if key.endswith(".seg") else -1


@contextmanager
def sized(sizes: Sizes) -> Iterator[None]:
    """The sizes that are not settings; and no ids come with a footer, as in segments of full size."""
    with (
        full_segments(),
        patch.object(vortex.publish.object_writer, "_BATCH", sizes.batch),
        patch.object(vortex.publish.copies, "NEAR", sizes.near),
        patch.object(vortex.publish.copies, "_REQUEST", sizes.request),
        patch.object(vortex.publish.copies, "_UNDER_WAY", sizes.under_way),
        patch.object(vortex.core.log.sealing, "ALONE_BYTES", sizes.alone),
        patch.object(vortex.core.log.sealing, "SHARED_BYTES", sizes.shared),
    ):
        yield


async def _publish(store: CountingStore, state: StreamState, sizes: Sizes, workers: int, k: int = 0) -> None:
    """Publish plan k with so many workers, each of which looks once a second."""
    names = tuple(f"w{at}" for at in range(workers))
    roster = [Roster(rank=at, workers=names) for at in range(workers)]
    publishers = [publisher(store, state, sizes, names[at], roster[at]) for at in range(workers)]
    await asyncio.gather(*(_step_on(store, one, k) for one in publishers))


async def _step_on(store: CountingStore, one: Publisher, k: int) -> None:
    while not any(key.endswith(f"/{k:010d}/done.json") for key in store.objects):
        if not await one.step():
            await asyncio.sleep(1)


def publisher(
    store: CountingStore, state: StreamState, sizes: Sizes, owner: str, roster: Roster, keep_ms: int = 10**9
) -> Publisher:
    """A publisher with these sizes."""
    clock = vtime.VirtualClock(T0 + 2 * PERIOD_MS)
    retry = Retry(clock, vtime.NullMeter(), Health(), Random(1))
    ports = PublisherPorts(
        LogStore(store, ROOT, retry),
        clock,
        vtime.NullMeter(),
        vtime.in_place,
        owner,
        SimScratch(sizes.scratch),
        room=BytesUnderWay(sizes.batches),
    )
    rules = PublishRules(
        PERIOD_MS,
        sizes.target,
        keep_ms,
        range_bytes=4 * sizes.target,
        piece_bytes=sizes.target // 4,
        part_rows=sizes.part_rows,
        keys_bytes=sizes.keys_bytes,
        copy_bytes=sizes.copy_bytes,
        index_bytes=sizes.index_bytes,
        bundle=sizes.bundle,
    )
    return Publisher(state, rules, ports, lambda: roster)


def one_folder(megabytes: int, call_s: float, mb_per_s: float, workers: int = 1, scale: int = 100) -> float:
    """MB a second (virtual), from the plan on, of publishing one folder with so many compressed MB, where a call takes
    `call_s` and a connection brings `mb_per_s`. One byte of `scale` stands for them, with sizes to match.
    """
    return vtime.run(_one_folder(megabytes, call_s, mb_per_s, workers, scale))


async def _one_folder(megabytes: int, call_s: float, mb_per_s: float, workers: int, scale: int) -> float:
    store = _SlowStore(vtime.VirtualClock(T0 + 2 * PERIOD_MS), 0.0)
    sizes = Sizes(**{name: 100 * size // scale for name, size in asdict(Sizes(scratch=1 << 40)).items()})
    with sized(sizes):
        # Hexadecimal digits are compressed to a bit more than half.
        state = fill(store, -(-megabytes // 96), Traffic(commits=10, partitions=1, size=18_000_000 // scale))
        size = scale * sum(len(body) for key, body in store.objects.items() if key.endswith(".seg"))
        store.call_s, store.byte_s = call_s, scale / mb_per_s / 1e6
        await _publish(store, state, sizes, workers)
        return size / 1e6 / (store.put_at["done.json"] - store.put_at["plan.json"])


class _SlowStore(CountingStore):
    """Each byte takes time, too. `put_at` says when the plan and its done document were put."""

    byte_s = 0.0

    def __init__(self, clock: vtime.VirtualClock, call_s: float) -> None:
        super().__init__(clock, call_s)
        self.put_at: dict[str, float] = {}

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        await asyncio.sleep(len(body) * self.byte_s)
        self.put_at[key.rpartition("/")[2]] = asyncio.get_running_loop().time()
        return await super().put_if_absent(key, body, content_type)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        await asyncio.sleep(length * self.byte_s)
        return await super().get_range(key, offset, length)


def held_indexes(shards: int, sizes: Sizes | None = None) -> tuple[int, int, int]:
    """The bytes of indexes that a planner holds before it plans, the bytes of all of them, and the GETs of the plan."""
    return vtime.run(_held_indexes(shards, sizes or Sizes(index_bytes=20_000)))


async def _held_indexes(shards: int, sizes: Sizes) -> tuple[int, int, int]:
    store = CountingStore(vtime.VirtualClock(T0 + 2 * PERIOD_MS))
    state = fill(store, shards, Traffic(partitions=50, size=5_000))
    held = 0
    put = LogStore.put_plan

    async def watched(self: LogStore, plan: Plan) -> Plan:
        nonlocal held
        assert one._logs is not None
        heads = [head for view in one._logs.views.values() for head in view.headers]
        held = sum(len(head.footer.members) + 8 * len(head.footer.folders) for head in heads)
        return await put(self, plan)

    one = publisher(store, state, sizes, "me", Roster(("me",)))
    with patch.object(LogStore, "put_plan", watched):
        assert await one.step()
    return held, shards * 10 * 50 * (MEMBER.itemsize + 8), store.gets()


def planned(shards: int) -> tuple[float, int]:
    """Virtual seconds and GETs of a step that plans and publishes one period, for a planner that knows the logs."""
    return vtime.run(_planned(shards))


async def _planned(shards: int) -> tuple[float, int]:
    store = CountingStore(vtime.VirtualClock(T0 + 3 * PERIOD_MS))
    traffic = Traffic(commits=10, partitions=1, size=100)
    state = fill(store, shards, traffic, periods=2)
    later = {key: body for key, body in store.objects.items() if key.endswith(".seg") and int(key[-16:-4]) > 10}
    for key in later:
        store.delete_now(key)
    one = publisher(store, state, Sizes(index_bytes=1 << 30), "me", Roster(("me",)))
    while await one.step():
        pass
    for key, body in later.items():
        store.put_now(key, body)
    store.requests.clear()
    begun = asyncio.get_running_loop().time()
    assert await one.step()
    return asyncio.get_running_loop().time() - begun, store.gets()
