"""A deterministic Kinesis stream in memory, with the rules and irregularities of the service.

It has what emulators lack: throttling, expiring iterators, lag, empty pages, trimming, shards that vanish. Rules:
https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html and
https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html. Time comes from the given clock, randomness
from the given `Random`, so the same calls give the same replies.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import md5
from itertools import pairwise
from random import Random
from typing import NamedTuple

import msgspec

from simulation.allowance import Allowance
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.model import HASH_KEYS, Page, Position, Record, ShardInfo, Start, StreamInfo
from vortex.ports import Clock, Denied, InvalidPosition, IteratorExpired, NotFound, Unavailable

ITERATOR_LIFE_S = 300.0
PAGE_BYTES = 10 << 20
TRIMMED_BEHIND_MS = 86_400_000
"""The lag of a position older than the retention, shown on each of its empty pages."""

Before = Callable[[str, str], Awaitable[None]]
"""`before(operation, shard)` is awaited before every call; it may wait or raise. `shard` may be ""."""


class Put(NamedTuple):
    """One record as it was put; a checker compares the list of all records with the store."""

    shard: str
    sequence: str
    partition_key: str
    arrival_ms: int
    data: bytes


class Call(NamedTuple):
    """One GetRecords or GetShardIterator call. `at_s` is monotonic; `outcome` is ok, full, throttled, expired, refused.

    `full`: a reply of nearly 10 MiB.
    """

    operation: str
    caller: str
    at_s: float
    iterator: str
    outcome: str


class _Cursor(msgspec.Struct, array_like=True):
    """The content of an iterator: read from sequence number `next`. Self-contained, so none is stored."""

    generation: int
    shard: str
    next: int
    issued_s: float


@dataclass
class _Shard:
    """A shard with all its records, as columns, so that positions are found by bisection."""

    info: ShardInfo
    sequences: list[int] = field(default_factory=list)
    written_ms: list[int] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    closed_ms: int | None = None
    allowance: Allowance = field(default_factory=Allowance)


async def _nothing_before(operation: str, shard: str) -> None:
    return None


class MemoryStream:
    """A `ports.Stream`, plus the operations of producers and operators (put, split, merge, delete, recreate).

    Faults can be changed at any time: `irregular` (share of replies that are empty or short before the tip, or show a
    lag at the tip), `stale_list` (closed parents are listed as open, next to their children), `null_iterators`
    (GetShardIterator returns None after the last record of a closed shard, which proves nothing), `skew_ms` (the
    service's clock minus the local one), `weight` (what a byte counts for in pages and limits), `before`.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        name: str = "events",
        shards: int = 1,
        retention_ms: int = 86_400_000,
        limits: bool = True,
        page_records: int = 10_000,
        random: Random | None = None,
        irregular: float = 0.0,
        before: Before = _nothing_before,
    ) -> None:
        self.name, self.retention_ms, self.limits, self.page_records = name, retention_ms, limits, page_records
        self.irregular, self.before = irregular, before
        self.stale_list = self.null_iterators = False
        self.skew_ms = 0
        self.weight = 1
        self.puts: list[Put] = []
        self.calls: defaultdict[str, list[Call]] = defaultdict(list)
        """By shard, in order: a checker uses it to find calls that are too frequent or use an old iterator."""
        self._clock = clock
        self._random = random or Random(0)
        self._generation = 0
        self._exists = False
        self.recreate(shards)

    # Operators and producers.

    def delete(self) -> None:
        """Delete the stream: every call is Denied from now on."""
        self._exists = False

    def recreate(self, shards: int = 1) -> None:
        """Create a new stream of the same name: new creation time, shard ids and sequence numbers start again."""
        self._generation += 1
        self._exists = True
        self._created_ms = self._now_ms()
        # Sequence numbers soon get another digit, which exposes comparisons as text.
        self._sequence = 980
        self._shards: dict[str, _Shard] = {}
        bounds = [HASH_KEYS * i // shards for i in range(shards + 1)]
        for start, end in pairwise(bounds):
            self._open((), start, end - 1)

    def split(self, shard: str, at_hash: int) -> tuple[str, str]:
        """Close `shard` and open two children; `at_hash` is the first hash key of the second one."""
        parent = self._shards[shard].info
        if not parent.start_hash < at_hash <= parent.end_hash:
            raise ValueError(f"{at_hash} does not split {shard}")
        self._close(shard)
        left = self._open((shard,), parent.start_hash, at_hash - 1)
        return left, self._open((shard,), at_hash, parent.end_hash)

    def merge(self, first: str, second: str) -> str:
        """Close two adjacent shards and open one child."""
        low, high = sorted((self._shards[first].info, self._shards[second].info), key=lambda info: info.start_hash)
        if low.end_hash + 1 != high.start_hash:
            raise ValueError(f"{first} and {second} are not adjacent")
        self._close(first)
        self._close(second)
        return self._open((first, second), low.start_hash, high.end_hash)

    def put(
        self, partition_key: str, data: bytes, arrival_ms: int | None = None, explicit_hash: int | None = None
    ) -> tuple[str, str]:
        """Append a record. Returns its shard and sequence number. `arrival_ms` may be before earlier ones."""
        key = explicit_hash
        if key is None:
            key = int.from_bytes(md5(partition_key.encode(), usedforsecurity=False).digest())
        shard = next(
            each
            for each in self._shards.values()
            if each.closed_ms is None and each.info.start_hash <= key <= each.info.end_hash
        )
        now = self._now_ms()
        arrival_ms = now if arrival_ms is None else arrival_ms
        number = self._next_sequence()
        shard.sequences.append(number)
        shard.written_ms.append(now)
        shard.records.append(Record(str(number), arrival_ms / 1000, data))
        self.puts.append(Put(shard.info.id, str(number), partition_key, arrival_ms, data))
        return shard.info.id, str(number)

    def shards(self) -> list[ShardInfo]:
        """All shards since the stream was created, including vanished ones."""
        return [shard.info for shard in self._shards.values()]

    def listed(self) -> set[str]:
        """The shards that have not vanished."""
        return {name for name, shard in self._shards.items() if not self._vanished(shard)}

    def records(self, shard: str) -> list[Record]:
        """All records ever put into `shard`, including trimmed ones."""
        return list(self._shards[shard].records)

    def seen_by(self, caller: str, before: Before | None = None) -> StreamView:
        """The stream as one worker sees it: with its own faults, and its name in `calls`."""
        return StreamView(self, caller, before)

    # Readers: ports.Stream.

    async def describe(self) -> StreamInfo:
        """See `ports.Stream`."""
        await self.before("describe", "")
        self._check_exists()
        arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{self.name}"
        return StreamInfo(self.name, arn, self._created_ms, self.retention_ms)

    async def server_time(self) -> int:
        """In whole seconds, as in a Date header."""
        await self.before("server_time", "")
        self._check_exists()
        return self._date_ms()

    async def list_shards(self) -> list[ShardInfo]:
        """See `ports.Stream`; `stale_list` shows closed shards as open."""
        await self.before("list_shards", "")
        self._check_exists()
        listed = [shard.info for shard in self._shards.values() if not self._vanished(shard)]
        if self.stale_list:
            listed = [msgspec.structs.replace(info, end_sequence=None) for info in listed]
        return listed

    async def iterator(self, shard: str, position: Position, caller: str = "") -> str | None:
        """See `ports.Stream`."""
        await self.before("iterator", shard)
        self._check_exists()
        now = self._clock.monotonic()
        held = self._shards.get(shard)
        if held is None or self._vanished(held):
            raise NotFound(f"shard {shard} of {self.name}")
        if self.limits and not held.allowance.take_iterator(now):
            self._log("iterator", caller, shard, "", "throttled")
            raise Unavailable(f"iterator {self.name} {shard}", "throttled")
        start = self._resolve(held, position)
        nothing_left = held.closed_ms is not None and bisect_left(held.sequences, start) == len(held.records)
        if self.null_iterators and nothing_left and position.by_record:
            return None
        token = self._token(shard, start)
        self._log("iterator", caller, shard, token, "ok")
        return token

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS, caller: str = "") -> Page:
        """See `ports.Stream`."""
        await self.before("read", shard)
        self._check_exists()
        now = self._clock.monotonic()
        cursor = msgspec.json.decode(iterator, type=_Cursor)
        if cursor.shard != shard:
            raise AssertionError(f"an iterator of {cursor.shard} was used on {shard}")
        held = self._shards.get(shard)
        if cursor.generation != self._generation or held is None or self._vanished(held):
            self._log("read", caller, shard, iterator, "refused")
            raise IteratorExpired(f"{self.name} {shard}: an iterator of a deleted stream or shard")
        if now - cursor.issued_s > ITERATOR_LIFE_S:
            self._log("read", caller, shard, iterator, "expired")
            raise IteratorExpired(f"{self.name} {shard}: {now - cursor.issued_s:.0f} s old")
        if self.limits and not held.allowance.may_read(now):
            self._log("read", caller, shard, iterator, "throttled")
            raise Unavailable(f"read {self.name} {shard}", "throttled")
        page, full = self._page(held, cursor.next, limit)
        self._log("read", caller, shard, iterator, "full" if page.size > PAGE_BYTES - (256 << 10) else "ok")
        if self.limits:
            held.allowance.give(page.size, full, now)
        return page

    # Internals.

    def _page(self, shard: _Shard, start: int, limit: int) -> tuple[Page, bool]:
        """The reply from `start`, and whether the size limit cut it."""
        first = bisect_left(shard.sequences, start)
        if first < self._trimmed(shard):
            return self._reply(shard, start, first, first, TRIMMED_BEHIND_MS), False
        count = min(self.page_records, limit)
        irregular = self.irregular > 0 and self._random.random() < self.irregular
        if irregular:
            count = min(limit, self._random.choice((0, self._random.randint(1, 10))))
        last, size = first, 0
        full = False
        while last < len(shard.records) and last - first < count and not full:
            size += len(shard.records[last].data) * self.weight
            full = size > PAGE_BYTES and last > first
            last += not full
        full = full or size >= PAGE_BYTES
        behind = 0
        if last < len(shard.records):
            behind = max(1, self._now_ms() - shard.written_ms[last])
            start = shard.sequences[last]
        elif irregular and first == last and shard.closed_ms is None:
            behind = self._random.randint(1, 2000)  # an idle shard may show a lag for a while
        elif last > first:
            start = shard.sequences[last - 1] + 1
        return self._reply(shard, start, first, last, behind), full

    def _reply(self, shard: _Shard, start: int, first: int, last: int, behind: int) -> Page:
        """Records first to last. The end of a shard shows on an empty page; if irregular, maybe on the last records."""
        records = shard.records[first:last]
        size = sum(len(record.data) for record in records) * self.weight
        ended = shard.closed_ms is not None and last == len(shard.records) and behind == 0
        if ended and records:
            ended = self.irregular > 0 and self._random.random() < 0.5
        if not ended:
            return Page(records, self._token(shard.info.id, start), behind, self._date_ms(), size=size)
        named = (each.info for each in self._shards.values() if shard.info.id in each.info.parents)
        children = tuple(msgspec.structs.replace(info, start_sequence="", end_sequence=None) for info in named)
        return Page(records, None, 0, self._date_ms(), children, size)

    def _resolve(self, shard: _Shard, position: Position) -> int:
        """The sequence number where reading starts."""
        if position.kind is Start.LATEST:
            return self._sequence + 1
        if position.kind is Start.TRIM_HORIZON:
            return self._from_index(shard, self._trimmed(shard))
        if position.kind is Start.AT_TIMESTAMP:
            if int(position.value) > self._now_ms():
                raise InvalidPosition(f"{shard.info.id}: the time {position.value} is in the future")
            index = self._trimmed(shard)
            while index < len(shard.records) and round(shard.records[index].arrival * 1000) < int(position.value):
                index += 1
            return self._from_index(shard, index)
        number = int(position.value) if position.value.isdecimal() else -1
        end = shard.info.end_sequence
        beyond = self._sequence + 1 if end is None else int(end)
        if not int(shard.info.start_sequence) <= number < beyond:
            raise InvalidPosition(f"{shard.info.id}: sequence number {position.value!r}")
        return number + (position.kind is Start.AFTER_SEQUENCE_NUMBER)

    def _from_index(self, shard: _Shard, index: int) -> int:
        return shard.sequences[index] if index < len(shard.sequences) else self._sequence + 1

    def _trimmed(self, shard: _Shard) -> int:
        """How many records at the start are older than the retention."""
        return bisect_right(shard.written_ms, self._now_ms() - self.retention_ms - 1)

    def _vanished(self, shard: _Shard) -> bool:
        return shard.closed_ms is not None and self._now_ms() - shard.closed_ms > self.retention_ms

    def _open(self, parents: tuple[str, ...], start: int, end: int) -> str:
        shard = f"shardId-{len(self._shards):012d}"
        self._shards[shard] = _Shard(ShardInfo(shard, parents, start, end, str(self._next_sequence())))
        return shard

    def _close(self, shard: str) -> None:
        held = self._shards[shard]
        if held.closed_ms is not None:
            raise ValueError(f"{shard} is closed")
        held.closed_ms = self._now_ms()
        held.info = msgspec.structs.replace(held.info, end_sequence=str(self._next_sequence()))

    def _next_sequence(self) -> int:
        self._sequence += self._random.randint(1, 3)
        return self._sequence

    def _token(self, shard: str, start: int) -> str:
        return msgspec.json.encode(_Cursor(self._generation, shard, start, self._clock.monotonic())).decode()

    def _log(self, operation: str, caller: str, shard: str, iterator: str, outcome: str) -> None:
        self.calls[shard].append(Call(operation, caller, self._clock.monotonic(), iterator, outcome))

    def _check_exists(self) -> None:
        if not self._exists:
            raise Denied(f"stream {self.name} does not exist")

    def _now_ms(self) -> int:
        return self._clock.now_ms() + self.skew_ms

    def _date_ms(self) -> int:
        return self._now_ms() // 1000 * 1000


class StreamView:
    """A `MemoryStream` as one worker sees it. Create it with `MemoryStream.seen_by`."""

    def __init__(self, stream: MemoryStream, caller: str, before: Before | None) -> None:
        self._stream, self._caller, self._before = stream, caller, before or _nothing_before

    async def describe(self) -> StreamInfo:
        """See `ports.Stream`."""
        await self._before("describe", "")
        return await self._stream.describe()

    async def server_time(self) -> int:
        """See `ports.Stream`."""
        await self._before("server_time", "")
        return await self._stream.server_time()

    async def list_shards(self) -> list[ShardInfo]:
        """See `ports.Stream`."""
        await self._before("list_shards", "")
        return await self._stream.list_shards()

    async def iterator(self, shard: str, position: Position) -> str | None:
        """See `ports.Stream`."""
        await self._before("iterator", shard)
        return await self._stream.iterator(shard, position, self._caller)

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
        """See `ports.Stream`."""
        await self._before("read", shard)
        return await self._stream.read(shard, iterator, limit, self._caller)
