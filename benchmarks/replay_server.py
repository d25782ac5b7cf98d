"""A Kinesis that replays: pages serialised beforehand, so that a GetRecords call costs next to nothing.

Protocol: https://docs.aws.amazon.com/kinesis/latest/APIReference/ in JSON (x-amz-json-1.1). ListShards,
DescribeStreamSummary, GetShardIterator (every type) and GetRecords are answered, for one stream that never changes.
Pages lie in an unnamed temporary file; a reply is a page's bytes and the next iterator after them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from array import array
from base64 import b64encode
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from xxhash import xxh3_64_intdigest

from benchmarks.http_server import Reply, Request, serve
from benchmarks.workload import PERIOD_MS, Record, Workload, add_arguments, chosen, records

STREAM = "bench"
_CONTENT = "application/x-amz-json-1.1"
_FIRST_SEQUENCE = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
_SEQUENCE_STEP = 16
_HASH_KEYS = 2**128
_PAGE_BYTES = 1 << 20
_CALLS_PER_SECOND = 5
_ITERATOR_LIFE_S = 300
_TOKEN_PAD = "A" * 160
"""Real iterators are some 220 characters long."""
MASK = 2**64 - 1


class Refusal(Exception):
    """An error reply; `code` is the exception's name in the API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


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
    calls: deque[float] = field(default_factory=lambda: deque(maxlen=_CALLS_PER_SECOND))


@dataclass(slots=True)
class Facts:
    """What the stream holds. `digest` adds up the hashes of all distinct lines, in any order."""

    events: int = 0
    unique: int = 0
    line_bytes: int = 0
    records: int = 0
    pages: int = 0
    digest: int = 0


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

    def read(self, page: PageAt) -> bytes:
        """The page's bytes."""
        return os.pread(self._file.fileno(), page.length, page.offset)


def shard_id(index: int) -> str:
    """As Kinesis names shards."""
    return f"shardId-{index:012d}"


def sequence_of(shard: int, index: int) -> int:
    """The sequence number of a shard's record `index`."""
    return _FIRST_SEQUENCE + index * _SEQUENCE_STEP * 1024 + shard


def _index_after(shard: int, sequence: int) -> int:
    """How many records of the shard have a sequence number of at most `sequence`."""
    return max(0, (sequence - _FIRST_SEQUENCE - shard) // (_SEQUENCE_STEP * 1024) + 1)


class Replay:
    """The stream: build it once, then answer requests."""

    def __init__(self, shards: int, created_ms: int, *, page_records: int = 1000, limits: bool = False) -> None:
        self.facts = Facts()
        self.calls: Counter[str] = Counter()
        self._shards = [Shard() for _ in range(shards)]
        self._created_ms = created_ms
        self._page_records = page_records
        self._limits = limits
        self._spool = Spool()
        self._operations: dict[str, Callable[[dict[str, Any]], tuple[bytes, ...]]] = {
            "ListShards": self._list_shards,
            "DescribeStreamSummary": self._describe,
            "GetShardIterator": self._iterator,
            "GetRecords": self._records,
        }

    def build(self, source: Iterable[Record]) -> None:
        """Serialise the pages."""
        waiting: dict[int, list[bytes]] = defaultdict(list)
        sizes: Counter[int] = Counter()
        for record in source:
            shard = self._shards[record.shard]
            row = _row(record, len(shard.arrivals))
            if waiting[record.shard] and sizes[record.shard] + len(record.data) > _PAGE_BYTES:
                self._page(record.shard, waiting[record.shard])
                sizes[record.shard] = 0
            shard.arrivals.append(record.arrival_ms)
            waiting[record.shard].append(row)
            sizes[record.shard] += len(record.data)
            self.facts.records += 1
            if len(waiting[record.shard]) == self._page_records:
                self._page(record.shard, waiting[record.shard])
                sizes[record.shard] = 0
        for index, rows in waiting.items():
            if rows:
                self._page(index, rows)
        self._spool.flush()

    def _page(self, index: int, rows: list[bytes]) -> None:
        pages = self._shards[index].pages
        first = pages[-1].first + pages[-1].count if pages else 0
        pages.append(PageAt(first, len(rows), *self._spool.add(b'{"Records":[' + b",".join(rows) + b"]")))
        self.facts.pages += 1
        rows.clear()

    def handle(self, request: Request) -> Reply:
        """One API call, or `/-/stats`."""
        if request.path == "/-/stats":
            return _reply((json.dumps(self.calls).encode(),))
        operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
        self.calls[operation] += 1
        try:
            if operation not in self._operations:
                raise Refusal("UnknownOperationException", operation)
            arguments = json.loads(request.body or b"{}")
            _known(arguments)
            return _reply(self._operations[operation](arguments))
        except Refusal as refusal:
            body = json.dumps({"__type": refusal.code, "message": str(refusal)}).encode()
            return _reply((body,), 400)

    def _list_shards(self, arguments: dict[str, Any]) -> tuple[bytes, ...]:
        count = len(self._shards)
        rows = [
            {
                "ShardId": shard_id(index),
                "HashKeyRange": {
                    "StartingHashKey": str(_HASH_KEYS * index // count),
                    "EndingHashKey": str(_HASH_KEYS * (index + 1) // count - 1),
                },
                "SequenceNumberRange": {"StartingSequenceNumber": str(sequence_of(index, 0) - _SEQUENCE_STEP)},
            }
            for index in range(count)
        ]
        return (json.dumps({"Shards": rows}).encode(),)

    def _describe(self, arguments: dict[str, Any]) -> tuple[bytes, ...]:
        summary = {
            "StreamName": STREAM,
            "StreamARN": f"arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}",
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"},
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": self._created_ms / 1000,
            "EnhancedMonitoring": [],
            "EncryptionType": "NONE",
            "OpenShardCount": len(self._shards),
            "ConsumerCount": 0,
        }
        return (json.dumps({"StreamDescriptionSummary": summary}).encode(),)

    def _iterator(self, arguments: dict[str, Any]) -> tuple[bytes, ...]:
        name, kind = arguments.get("ShardId", ""), arguments.get("ShardIteratorType")
        index = next((i for i in range(len(self._shards)) if shard_id(i) == name), None)
        if index is None:
            raise Refusal("ResourceNotFoundException", f"Shard {name} in stream {STREAM} does not exist")
        arrivals = self._shards[index].arrivals
        if kind == "TRIM_HORIZON":
            start = 0
        elif kind == "LATEST":
            start = len(arrivals)
        elif kind == "AT_TIMESTAMP":
            start = bisect_left(arrivals, round(float(arguments["Timestamp"]) * 1000))
        elif kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
            sequence = int(arguments["StartingSequenceNumber"])
            start = _index_after(index, sequence - (kind == "AT_SEQUENCE_NUMBER"))
        else:
            raise Refusal("InvalidArgumentException", f"ShardIteratorType {kind}")
        return (json.dumps({"ShardIterator": _token(index, min(start, len(arrivals)))}).encode(),)

    def _records(self, arguments: dict[str, Any]) -> tuple[bytes, ...]:
        index, start, issued = _untoken(arguments.get("ShardIterator", ""), len(self._shards))
        shard = self._shards[index]
        if self._limits:
            admit(shard, issued)
        place = bisect_right(shard.pages, start, key=lambda page: page.first) - 1
        if start >= len(shard.arrivals) or place < 0:
            return (b'{"Records":[],"MillisBehindLatest":0,"NextShardIterator":"%b"}' % _token(index, start).encode(),)
        page = shard.pages[place]
        body = self._spool.read(page)
        end = page.first + page.count
        limit = int(arguments.get("Limit", 10_000))
        if start > page.first or end - start > limit:
            end = min(end, start + limit)
            body = _cut(body, start - page.first, end - page.first)
        behind = max(1, shard.arrivals[-1] - shard.arrivals[end - 1]) if end < len(shard.arrivals) else 0
        self.calls["records"] += end - start
        tail = b',"MillisBehindLatest":%d,"NextShardIterator":"%b"}' % (behind, _token(index, end).encode())
        return body, tail


def _row(record: Record, index: int) -> bytes:
    return b'{"SequenceNumber":"%d","ApproximateArrivalTimestamp":%.3f,"Data":"%b","PartitionKey":"%d"}' % (
        sequence_of(record.shard, index),
        record.arrival_ms / 1000,
        b64encode(record.data),
        index,
    )


def _cut(body: bytes, first: int, end: int) -> bytes:
    """Some records of a page: for a client that begins within a page, or asks for less than one."""
    rows = json.loads(body + b"}")["Records"][first:end]
    return json.dumps({"Records": rows}).encode()[:-1]


def _known(arguments: dict[str, Any]) -> None:
    name = arguments.get("StreamName") or arguments.get("StreamARN", STREAM).rpartition("/")[2]
    if name != STREAM:
        raise Refusal("ResourceNotFoundException", f"Stream {name} not found")


def _token(shard: int, start: int) -> str:
    return f"{shard}:{start}:{int(time.time())}:{_TOKEN_PAD}"


def _untoken(token: str, shards: int) -> tuple[int, int, int]:
    """Shard, record and second of issue."""
    parts = token.split(":")
    if len(parts) != 4 or not all(part.isdigit() for part in parts[:3]) or int(parts[0]) >= shards:
        raise Refusal("InvalidArgumentException", "Invalid ShardIterator.")
    return int(parts[0]), int(parts[1]), int(parts[2])


def admit(shard: Shard, issued: int) -> None:
    """Kinesis's limits on calls and on an iterator's life. Raises Refusal."""
    if time.time() - issued > _ITERATOR_LIFE_S:
        raise Refusal("ExpiredIteratorException", "Iterator expired.")
    now = time.monotonic()
    if len(shard.calls) == _CALLS_PER_SECOND and now - shard.calls[0] < 1:
        raise Refusal("ProvisionedThroughputExceededException", "Rate exceeded for shard.")
    shard.calls.append(now)


def _reply(body: tuple[bytes, ...], status: int = 200) -> Reply:
    return Reply(status, body, _CONTENT)


def observed(source: Iterable[Record], workload: Workload, facts: Facts) -> Iterable[Record]:
    """The records as they come, while `facts` learns what the outputs must hold."""
    from vortex.core.kpl import deaggregate

    seen: set[int] = set()
    for record in source:
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


def main() -> None:
    """Build the stream, say that it is ready, and answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--page-records", type=int, default=1000)
    parser.add_argument("--limits", action="store_true", help="5 calls a second a shard, iterators expire")
    arguments = parser.parse_args()
    workload, count = chosen(arguments)
    replay = Replay(
        workload.shards,
        arguments.start_ms - PERIOD_MS,
        page_records=arguments.page_records,
        limits=arguments.limits,
    )
    replay.build(observed(records(workload, arguments.seed, count, arguments.start_ms), workload, replay.facts))
    facts = replay.facts
    told = {name: getattr(facts, name) for name in Facts.__slots__}
    serve(replay.handle, {**told, "shards": workload.shards})


if __name__ == "__main__":
    main()
