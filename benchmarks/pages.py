"""The content of a replayed stream: shards in pages, either serialised beforehand or made on request."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from typing import Protocol

from xxhash import xxh3_64_intdigest

from benchmarks.wire import JSON, Wire
from benchmarks.workload import Record, Workload, events
from vortex.core.decode.kpl import deaggregate

STREAM = "bench"
MASK = 2**64 - 1
CALLS_PER_SECOND = 5
_FIRST_SEQUENCE = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
SEQUENCE_STEP = 16
PAGE_RECORDS = 3_800
"""At 1 KB each a little less than the 4 MiB that Vortex asks for: a reader that is behind is given what it asks for. (A
shard at its tip takes 1,900 in the two seconds between calls.) Pages that hold more would be given in two parts.
"""
_RECORD_BYTES = 2**20 / 1000
"""A page holds so many for each record that it may have: 1,000 records or 1 MiB is what a shard takes in a second."""
_MOST_PAGES = 2**24
_MOST_SHARDS = 2**16


@dataclass(frozen=True, slots=True)
class PageAt:
    """Where a page lies in the spool: from record `first` on, `count` records."""

    first: int
    count: int
    offset: int
    length: int


@dataclass(slots=True)
class Shard:
    """One shard: the arrival of each record, and the pages."""

    arrivals: array[int] = field(default_factory=lambda: array("q"))
    pages: list[PageAt] = field(default_factory=list)
    calls: deque[float] = field(default_factory=lambda: deque(maxlen=CALLS_PER_SECOND))


@dataclass(slots=True)
class Facts:
    """What the stream holds. `digest` adds up the hashes of all distinct lines, in any order."""

    events: int = 0
    unique: int = 0
    line_bytes: int = 0
    records: int = 0
    pages: int = 0
    digest: int = 0

    def document(self) -> dict[str, int]:
        """By name."""
        return {name: getattr(self, name) for name in Facts.__slots__}


class Source(Protocol):
    """Where pages come from."""

    def read(self, index: int, page: PageAt) -> bytes:
        """The bytes of a page of shard `index`, as far as they do not change from reply to reply."""
        ...


class Spool:
    """Pages on disk, written once and read by place."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the server)
        self._end = 0

    def add(self, page: bytes) -> tuple[int, int]:
        """Offset and length of the page."""
        self._file.write(page)
        self._end += len(page)
        return self._end - len(page), len(page)

    def flush(self) -> None:
        """To be called before reading."""
        self._file.flush()

    def read(self, index: int, page: PageAt) -> bytes:
        """The page's bytes; its place tells the shard, too."""
        return os.pread(self._file.fileno(), page.length, page.offset)


class Builder:
    """Serialises records into pages and spools them."""

    def __init__(self, shards: int, page_records: int, spool: Spool, wire: Wire = JSON) -> None:
        self.shards = [Shard() for _ in range(shards)]
        self._wire = wire
        self._page_records, self._page_bytes, self._spool = page_records, page_records * _RECORD_BYTES, spool
        self._waiting: dict[int, list[bytes]] = defaultdict(list)
        self._sizes: Counter[int] = Counter()

    def add(self, record: Record) -> None:
        """The next record of its shard."""
        index = record.shard
        if self._waiting[index] and self._sizes[index] + len(record.data) > self._page_bytes:
            self._page(index)
        number = len(self.shards[index].arrivals)
        self._waiting[index].append(self._wire.row(str(sequence_of(index, number)), record, number))
        self.shards[index].arrivals.append(record.arrival_ms)
        self._sizes[index] += len(record.data)
        if len(self._waiting[index]) == self._page_records:
            self._page(index)

    def finish(self) -> None:
        """After the last record."""
        for index, rows in self._waiting.items():
            if rows:
                self._page(index)
        self._spool.flush()

    def _page(self, index: int) -> None:
        pages, rows = self.shards[index].pages, self._waiting[index]
        first = pages[-1].first + pages[-1].count if pages else 0
        pages.append(PageAt(first, len(rows), *self._spool.add(self._wire.page(rows))))
        rows.clear()
        self._sizes[index] = 0


class Backlog:
    """`count` distinct events, dealt out evenly to the shards and over the workload's span; one a record."""

    def __init__(self, workload: Workload, seed: int, count: int, start_ms: int, page_records: int) -> None:
        self.facts = Facts(events=count, unique=count, records=count)
        self._wire = JSON
        self._workload, self._seed, self._start_ms = workload, seed, start_ms
        self._each = count // workload.shards
        self._page_records = page_records
        self._served: set[tuple[int, int]] = set()

    def written(self, wire: Wire) -> Backlog:
        """The same backlog in another encoding: what was served in one is known to the other."""
        other = copy(self)
        other._wire = wire
        return other

    def shards(self) -> list[Shard]:
        """Where everything lies."""
        made = []
        for index in range(self._workload.shards):
            size = self._each + (self.facts.events % self._workload.shards if index == 0 else 0)
            firsts = range(0, size, self._page_records)
            pages = [PageAt(first, min(self._page_records, size - first), 0, 0) for first in firsts]
            self.facts.pages += len(pages)
            made.append(Shard(array("q", map(self._arrival, range(size))), pages))
        return made

    def read(self, index: int, page: PageAt) -> bytes:
        """The page's bytes. What its lines must come to is added to the facts when it is read for the first time."""
        begin, end = self._arrival(page.first), self._arrival(page.first + page.count)
        place = (self._seed * _MOST_SHARDS + index) * _MOST_PAGES + page.first // self._page_records
        load = self._workload
        lines = list(
            events(
                place,
                page.count,
                customers=load.customers,
                types=load.types,
                skew=load.skew,
                small=load.small,
                start_ms=begin,
                span_ms=end - begin,
            )
        )
        if (index, page.first) not in self._served:
            self._served.add((index, page.first))
            self.facts.line_bytes += sum(map(len, lines)) + len(lines)
            self.facts.digest = self.facts.digest + sum(map(xxh3_64_intdigest, lines)) & MASK
        rows = [
            self._wire.row(str(sequence_of(index, number)), Record(index, self._arrival(number), line, 1), number)
            for number, line in enumerate(lines, page.first)
        ]
        return self._wire.page(rows)

    def _arrival(self, number: int) -> int:
        """Epoch milliseconds of a shard's record `number`."""
        return self._start_ms + self._workload.span_ms * number // (self._each + self._workload.shards)


def observed(source: Iterable[Record], workload: Workload, facts: Facts) -> Iterable[Record]:
    """The records as they come, while `facts` learns what the outputs must hold."""
    seen: set[int] = set()
    for record in source:
        facts.records += 1
        lines = (deaggregate(record.data) or []) if workload.packing == "kpl" else record.data.split(b"\n")
        facts.events += len(lines)
        for line in lines:
            key = xxh3_64_intdigest(line)
            if workload.duplicates:
                if key in seen:
                    continue
                seen.add(key)
            facts.unique += 1
            facts.line_bytes += len(line) + 1
            facts.digest = facts.digest + key & MASK
        yield record


def shard_id(index: int) -> str:
    """As Kinesis names shards."""
    return f"shardId-{index:012d}"


def sequence_of(shard: int, index: int) -> int:
    """The sequence number of a shard's record `index`."""
    return _FIRST_SEQUENCE + index * SEQUENCE_STEP * 1024 + shard


def index_after(shard: int, sequence: int) -> int:
    """How many records of the shard have a sequence number of at most `sequence`."""
    return max(0, (sequence - _FIRST_SEQUENCE - shard) // (SEQUENCE_STEP * 1024) + 1)
