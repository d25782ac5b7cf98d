"""Shared by all curves: a store that counts requests, each of 25 ms; segments; and the fitted exponent."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

import msgspec

from simulation import vtime
from simulation.memstore import MemoryStore
from vortex.core.log.lines import LineTable
from vortex.core.log.rules import RootStart, SegmentHeader, StreamState, segment_key
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Counts, Folder, Sealed, empty_footer, folder_hash
from vortex.core.model import HOUR_MS, ObjectInfo, Position, ShardInfo, Start
from vortex.log.store import LogStore

T0 = 1_700_000_000_000 // HOUR_MS * HOUR_MS
"""The first hour of every curve."""
PERIOD_MS = 300_000
ROOT = "_vortex/events@1"
CALL_S = 0.025
_PAGE = 1000
_AT = Position(Start.TRIM_HORIZON)


class CountingStore(MemoryStore):
    """Counts requests by operation and kind of key, as S3 charges for them; each takes `call_s`."""

    def __init__(self, clock: vtime.VirtualClock, call_s: float = CALL_S) -> None:
        super().__init__(clock, self._count)
        self.requests: Counter[str] = Counter()
        self.call_s = call_s

    async def _count(self, operation: str, key: str) -> None:
        self.requests[f"{operation} {_kind(key)}"] += 1
        await asyncio.sleep(self.call_s)

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """A request for every thousand keys."""
        number = 0
        async for info in super().list(prefix, start_after):
            number += 1
            if number % _PAGE == 0:
                await self._count("list", prefix)
            yield info

    async def delete(self, keys: Iterable[str]) -> None:
        """A request for every thousand keys."""
        left = list(keys)
        for at in range(0, len(left), _PAGE):
            await self._count("delete", left[at])
        before, self.before = self.before, _nothing
        try:
            await super().delete(left)
        finally:
            self.before = before

    def gets(self) -> int:
        """All GET requests."""
        return sum(number for what, number in self.requests.items() if what.startswith("get "))


async def _nothing(operation: str, key: str) -> None:
    """Nothing."""


def _kind(key: str) -> str:
    if "/shards/" in key:
        return "segment"
    if "/plans/" in key:
        return "plan"
    if "/dedup/" in key:
        return "exchange" if key.endswith("-ids") else "decision"
    if key.startswith("_") and not key.startswith("_bundles/"):
        return "manifest"
    return "object"


def shards(number: int) -> list[ShardInfo]:
    """Root shards with equal parts of the hash space."""
    width = 2**128 // number
    return [
        ShardInfo(f"shardId-{at:012d}", (), at * width, (at + 1) * width - 1 if at < number - 1 else 2**128 - 1)
        for at in range(number)
    ]


def state_of(roots: Sequence[ShardInfo]) -> StreamState:
    """The state of a stream with these root shards, which begins at `T0`."""
    starts = tuple(RootStart(root, _AT) for root in roots)
    return StreamState(stream="events", arn="arn", created=1000, roots=starts, closed_before=T0, first_hour=T0, seed=1)


def folders(number: int) -> list[Folder]:
    """Folders of as many customers."""
    paths = [f"customer=c{at:06d}/event_type=view/date=2023-11-14/hour=22" for at in range(number)]
    return [Folder(path, folder_hash(path), path[9:16], "view") for path in paths]


def segment(
    shard: str, n: int, prev: str, closed_before: int, lines: Mapping[Cell, Sequence[bytes]], ids: bytes = b""
) -> Sealed:
    """Segment n of a shard, with these lines."""
    footer = empty_footer(
        shard,
        n,
        prev,
        owner="me",
        created=T0,
        position=_AT,
        watermark=max(T0, closed_before),
        closed_before=closed_before,
    )
    rows = sum(map(len, lines.values()))
    text = sum(sum(map(len, some)) + len(some) for some in lines.values())
    footer.counts = Counts(events=rows, accepted=rows, bytes=text)
    return seal(footer, list(lines), LineTable.of(lines.values()), ids)


@dataclass(frozen=True, slots=True)
class Traffic:
    """The same traffic on every shard: `commits` segments a period, `size` incompressible bytes of lines in each,
    over `partitions` folders with `rows` lines each.
    """

    commits: int = 10
    partitions: int = 100
    size: int = 60_000
    rows: int = 1


def fill(store: CountingStore, number: int, traffic: Traffic, periods: int = 1, end: int | None = None) -> StreamState:
    """Write stream.json and the logs of so many shards, which have closed so many periods, or all before `end`."""
    roots, rng = shards(number), random.Random(1)
    state = state_of(roots)
    store.put_now(f"{ROOT}/stream.json", msgspec.json.encode(state))
    each = max(2, traffic.size // traffic.partitions // traffic.rows)
    noise = rng.randbytes(each + 4096).hex().encode()
    its_folders = folders(traffic.partitions)
    end = T0 + periods * PERIOD_MS if end is None else end
    for root in roots:
        prev, n = "", 0
        for period in range(periods):
            for _ in range(traffic.commits):
                lines = {
                    Cell(folder, T0 + period * PERIOD_MS): [_line(noise, each, rng) for _ in range(traffic.rows)]
                    for folder in its_folders
                }
                ids = rng.randbytes(16 * traffic.rows * traffic.partitions)
                prev = put(store, segment(root.id, n, prev, T0 + period * PERIOD_MS, lines, ids))
                n += 1
        prev = put(store, segment(root.id, n, prev, end, {}))
    store.requests.clear()
    return state


def _line(noise: bytes, size: int, rng: random.Random) -> bytes:
    at = rng.randrange(4096)
    return noise[at : at + size]


def put(store: CountingStore, sealed: Sealed) -> str:
    """Put a segment at once. Returns its digest."""
    store.put_now(segment_key(ROOT, sealed.footer.shard, sealed.footer.n), sealed.body)
    return sealed.digest


@contextmanager
def full_segments() -> Iterator[None]:
    """Ids come with a footer only where a read asks for so many bytes of them: those of a segment of full size are far
    more than what is read of each segment in any case.
    """
    really = LogStore._head

    async def head(self: LogStore, shard: str, n: int, ids_bytes: int = 0) -> SegmentHeader:
        found = await really(self, shard, n, ids_bytes)
        return found if found.footer.ids_range[1] <= ids_bytes else replace(found, ids=None)

    with patch.object(LogStore, "_head", head):
        yield


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The exponent e of values = c * sizes ** e, by least squares of the logarithms."""
    xs, ys = [math.log(size) for size in sizes], [math.log(max(value, 1e-9)) for value in values]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
