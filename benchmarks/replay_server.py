"""A Kinesis that replays pages. They are serialised beforehand, so that a GetRecords call costs the server little.

Protocol: https://docs.aws.amazon.com/kinesis/latest/APIReference/ in JSON (x-amz-json-1.1), and, but with `--json`, in
CBOR (x-amz-cbor-1.1) for a client that asks so. ListShards, DescribeStreamSummary,
GetShardIterator (every type) and GetRecords are answered, for one stream that never changes. A reply is a page's bytes
and the next iterator after them; see `benchmarks.pages` and `benchmarks.wire`.
"""

from __future__ import annotations

import argparse
import json
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
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
from benchmarks.wire import CBOR, JSON, Wire
from benchmarks.workload import PERIOD_MS, add_arguments, chosen, records

_HASH_KEYS = 2**128
_ITERATOR_LIFE_S = 300
_TOKEN_PAD = "A" * 160
"""Real iterators are some 220 characters long."""


class Refusal(Exception):
    """An error reply; `code` is the exception's name in the API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Laid:
    """The stream in one encoding. Its pages hold the same records in each."""

    wire: Wire
    shards: list[Shard]
    source: Source


class Replay:
    """The stream: lay it out once, then answer requests."""

    def __init__(self, created_ms: int, *, limits: bool = False) -> None:
        self.facts = Facts()
        self.calls: Counter[str] = Counter()
        self._laid: dict[str, Laid] = {}
        self._created_ms = created_ms
        self._limits = limits
        self._operations: dict[str, Callable[[Laid, dict[str, Any]], dict[str, Any]]] = {
            "ListShards": self._list_shards,
            "DescribeStreamSummary": self._describe,
            "GetShardIterator": self._iterator,
        }

    def lay(self, laid: Laid, facts: Facts) -> None:
        """What is to be answered with in one encoding."""
        self._laid[laid.wire.content], self.facts = laid, facts

    def handle(self, request: Request) -> Reply:
        """One API call, `/-/stats`, or `/-/facts`."""
        if request.path.startswith("/-/"):
            answer = self.calls if request.path == "/-/stats" else self.facts.document()
            return Reply(200, (json.dumps(answer).encode(),), JSON.content)
        laid = self._laid.get(request.headers.get("content-type", ""))
        if laid is None:
            return Reply(415, (), JSON.content)
        wire, operation = laid.wire, request.headers.get("x-amz-target", "").rpartition(".")[2]
        self.calls[operation] += 1
        self.calls[wire.content] += 1
        try:
            arguments = wire.loads(request.body) if request.body else {}
            _known(arguments)
            if operation == "GetRecords":
                return Reply(200, self._records(laid, arguments), wire.content)
            if operation not in self._operations:
                raise Refusal("UnknownOperationException", operation)
            return Reply(200, (wire.dumps(self._operations[operation](laid, arguments)),), wire.content)
        except Refusal as refusal:
            return Reply(400, (wire.dumps({"__type": refusal.code, "message": str(refusal)}),), wire.content)

    def _list_shards(self, laid: Laid, arguments: dict[str, Any]) -> dict[str, Any]:
        count = len(laid.shards)
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
        return {"Shards": rows}

    def _describe(self, laid: Laid, arguments: dict[str, Any]) -> dict[str, Any]:
        summary = {
            "StreamName": STREAM,
            "StreamARN": f"arn:aws:kinesis:us-east-1:123456789012:stream/{STREAM}",
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"},
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": self._created_ms / 1000,
            "EnhancedMonitoring": [],
            "EncryptionType": "NONE",
            "OpenShardCount": len(laid.shards),
            "ConsumerCount": 0,
        }
        return {"StreamDescriptionSummary": summary}

    def _iterator(self, laid: Laid, arguments: dict[str, Any]) -> dict[str, Any]:
        name, kind = arguments.get("ShardId", ""), arguments.get("ShardIteratorType")
        index = next((i for i in range(len(laid.shards)) if shard_id(i) == name), None)
        if index is None:
            raise Refusal("ResourceNotFoundException", f"Shard {name} in stream {STREAM} does not exist")
        arrivals = laid.shards[index].arrivals
        if kind == "TRIM_HORIZON":
            start = 0
        elif kind == "LATEST":
            start = len(arrivals)
        elif kind == "AT_TIMESTAMP":
            unit = 1000 if laid.wire is JSON else 1
            start = bisect_left(arrivals, round(float(arguments["Timestamp"]) * unit))
        elif kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
            sequence = int(arguments["StartingSequenceNumber"])
            start = index_after(index, sequence - (kind == "AT_SEQUENCE_NUMBER"))
        else:
            raise Refusal("InvalidArgumentException", f"ShardIteratorType {kind}")
        return {"ShardIterator": _token(index, min(start, len(arrivals)))}

    def _records(self, laid: Laid, arguments: dict[str, Any]) -> tuple[bytes, ...]:
        index, start, issued = _untoken(arguments.get("ShardIterator", ""), len(laid.shards))
        shard, wire = laid.shards[index], laid.wire
        if self._limits:
            admit(shard, issued)
        place = bisect_right(shard.pages, start, key=lambda page: page.first) - 1
        if start >= len(shard.arrivals) or place < 0:
            return wire.page([]), wire.tail(0, _token(index, start))
        page = shard.pages[place]
        body = laid.source.read(index, page)
        end = page.first + page.count
        limit = int(arguments.get("Limit", 10_000))
        if start > page.first or end - start > limit:
            end = min(end, start + limit)
            body = wire.cut(body, start - page.first, end - page.first)
        behind = max(1, shard.arrivals[-1] - shard.arrivals[end - 1]) if end < len(shard.arrivals) else 0
        self.calls["records"] += end - start
        return body, wire.tail(behind, _token(index, end))


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


def main() -> None:
    """Build the stream, say that it is ready, and answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--page-records", type=int, default=PAGE_RECORDS)
    parser.add_argument("--limits", action="store_true", help="5 calls a second a shard, iterators expire")
    parser.add_argument("--json", action="store_true", help="no pages in CBOR")
    arguments = parser.parse_args()
    workload, count = chosen(arguments)
    replay = Replay(arguments.start_ms - PERIOD_MS, limits=arguments.limits)
    wires = (JSON,) if arguments.json else (JSON, CBOR)
    if workload.span_ms > PERIOD_MS:
        backlog = Backlog(workload, arguments.seed, count, arguments.start_ms, arguments.page_records)
        shards = backlog.shards()
        for wire in wires:
            replay.lay(Laid(wire, shards, backlog.written(wire)), backlog.facts)
    else:
        facts, spool = Facts(), Spool()
        builders = {wire: Builder(workload.shards, arguments.page_records, spool, wire) for wire in wires}
        stream = records(workload, arguments.seed, count, arguments.start_ms)
        for record in observed(stream, workload, facts):
            for builder in builders.values():
                builder.add(record)
        for wire, builder in builders.items():
            builder.finish()
            replay.lay(Laid(wire, builder.shards, spool), facts)
        facts.pages = sum(len(shard.pages) for shard in builders[JSON].shards)
    serve(replay.handle, {**replay.facts.document(), "shards": workload.shards})


if __name__ == "__main__":
    main()
