"""A Kinesis that replays pages. They are serialised beforehand, so that a GetRecords call costs the server little.

Protocol: https://docs.aws.amazon.com/kinesis/latest/APIReference/ in JSON (x-amz-json-1.1). ListShards,
DescribeStreamSummary, GetShardIterator (every type) and GetRecords are answered, for one stream that never changes.
A reply is a page's bytes and the next iterator after them; see `benchmarks.pages`.
"""

from __future__ import annotations

import argparse
import json
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.http_server import Reply, Request, serve
from benchmarks.pages import (
    CALLS_PER_SECOND,
    PAGE_RECORDS,
    SEQUENCE_STEP,
    STREAM,
    Backlog,
    Builder,
    Facts,
    Shard,
    Source,
    Spool,
    index_after,
    observed,
    sequence_of,
    shard_id,
)
from benchmarks.workload import PERIOD_MS, add_arguments, chosen, records

_CONTENT = "application/x-amz-json-1.1"
_HASH_KEYS = 2**128
_ITERATOR_LIFE_S = 300
_TOKEN_PAD = "A" * 160
"""Real iterators are some 220 characters long."""


class Refusal(Exception):
    """An error reply; `code` is the exception's name in the API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Replay:
    """The stream: lay it out once, then answer requests."""

    def __init__(self, created_ms: int, *, limits: bool = False) -> None:
        self.facts = Facts()
        self.calls: Counter[str] = Counter()
        self._shards: list[Shard] = []
        self._created_ms = created_ms
        self._limits = limits
        self._source: Source
        self._operations: dict[str, Callable[[dict[str, Any]], tuple[bytes, ...]]] = {
            "ListShards": self._list_shards,
            "DescribeStreamSummary": self._describe,
            "GetShardIterator": self._iterator,
            "GetRecords": self._records,
        }

    def lay(self, shards: list[Shard], source: Source, facts: Facts) -> None:
        """What is to be answered with."""
        self._shards, self._source, self.facts = shards, source, facts

    def handle(self, request: Request) -> Reply:
        """One API call, `/-/stats`, or `/-/facts`."""
        if request.path == "/-/stats":
            return _reply((json.dumps(self.calls).encode(),))
        if request.path == "/-/facts":
            return _reply((json.dumps(self.facts.document()).encode(),))
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
                "SequenceNumberRange": {"StartingSequenceNumber": str(sequence_of(index, 0) - SEQUENCE_STEP)},
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
            start = index_after(index, sequence - (kind == "AT_SEQUENCE_NUMBER"))
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
        body = self._source.read(index, page)
        end = page.first + page.count
        limit = int(arguments.get("Limit", 10_000))
        if start > page.first or end - start > limit:
            end = min(end, start + limit)
            body = _cut(body, start - page.first, end - page.first)
        behind = max(1, shard.arrivals[-1] - shard.arrivals[end - 1]) if end < len(shard.arrivals) else 0
        self.calls["records"] += end - start
        tail = b',"MillisBehindLatest":%d,"NextShardIterator":"%b"}' % (behind, _token(index, end).encode())
        return body, tail


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
    if len(shard.calls) == CALLS_PER_SECOND and now - shard.calls[0] < 1:
        raise Refusal("ProvisionedThroughputExceededException", "Rate exceeded for shard.")
    shard.calls.append(now)


def _reply(body: tuple[bytes, ...], status: int = 200) -> Reply:
    return Reply(status, body, _CONTENT)


def main() -> None:
    """Build the stream, say that it is ready, and answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--page-records", type=int, default=PAGE_RECORDS)
    parser.add_argument("--limits", action="store_true", help="5 calls a second a shard, iterators expire")
    arguments = parser.parse_args()
    workload, count = chosen(arguments)
    replay = Replay(arguments.start_ms - PERIOD_MS, limits=arguments.limits)
    if workload.span_ms > PERIOD_MS:
        backlog = Backlog(workload, arguments.seed, count, arguments.start_ms, arguments.page_records)
        replay.lay(backlog.shards(), backlog, backlog.facts)
    else:
        builder, facts = Builder(workload.shards, arguments.page_records, spool := Spool()), Facts()
        builder.build(observed(records(workload, arguments.seed, count, arguments.start_ms), workload, facts), facts)
        replay.lay(builder.shards, spool, facts)
    serve(replay.handle, {**replay.facts.document(), "shards": workload.shards})


if __name__ == "__main__":
    main()
