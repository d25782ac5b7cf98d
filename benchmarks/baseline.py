"""The straightforward consumer, to compare with: boto3, json, a set of ids, a dict of lists, gzip at level 6.

A simple but careful program: it parses each event once, keeps its bytes, and compresses and puts each partition once.
It guarantees nothing after a crash: its ids and its position are only in memory.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import boto3

from benchmarks.pages import STREAM
from vortex.core.decode.kpl import deaggregate

_KPL_MAGIC = b"\xf3\x89\x9a\xc2"


class Consumer:
    """Reads every shard to its tip, then writes one object for each customer, event type and hour."""

    def __init__(self, kinesis: Any, s3: Any, bucket: str) -> None:
        self._kinesis = kinesis
        self._s3 = s3
        self._bucket = bucket
        self._seen: set[str] = set()
        self._partitions: dict[tuple[str, str, str], list[bytes]] = defaultdict(list)

    def run(self) -> int:
        """The number of events read."""
        count = 0
        for shard in self._kinesis.list_shards(StreamName=STREAM)["Shards"]:
            for records in self._pages(shard["ShardId"]):
                count += self._take(records)
        self._write()
        return count

    def _pages(self, shard: str) -> Iterator[list[dict[str, Any]]]:
        iterator = self._kinesis.get_shard_iterator(StreamName=STREAM, ShardId=shard, ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        while iterator:
            reply = self._kinesis.get_records(ShardIterator=iterator, Limit=10_000)
            yield reply["Records"]
            if not reply["Records"] and reply["MillisBehindLatest"] == 0:
                return
            iterator = reply.get("NextShardIterator")

    def _take(self, records: list[dict[str, Any]]) -> int:
        count = 0
        for record in records:
            for line in lines_of(record["Data"]):
                count += 1
                event = json.loads(line)
                key = event["messageId"]
                if key in self._seen:
                    continue
                self._seen.add(key)
                customer = event["context"]["app"]["namespace"]
                kind = event.get("event") or event["type"]
                self._partitions[customer, kind, event["timestamp"][:13]].append(line)
        return count

    def _write(self) -> None:
        for (customer, kind, hour), lines in self._partitions.items():
            date, _, number = hour.partition("T")
            self._s3.put_object(
                Bucket=self._bucket,
                Key=f"customer={customer}/event_type={kind}/date={date}/hour={number}/part-0.json.gz",
                Body=gzip.compress(b"\n".join(lines) + b"\n", 6),
                ContentType="application/x-ndjson",
            )


def lines_of(data: bytes) -> Iterable[bytes]:
    """The events of a record: one, or lines, or a KPL aggregate."""
    if data.startswith(_KPL_MAGIC):
        return deaggregate(data) or [data]
    return data.split(b"\n") if b"\n" in data else (data,)


def main() -> None:
    """Consume the stream into the bucket."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinesis", required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--bucket", required=True)
    arguments = parser.parse_args()
    kinesis = boto3.client("kinesis", endpoint_url=arguments.kinesis)
    s3 = boto3.client("s3", endpoint_url=arguments.store)
    print(Consumer(kinesis, s3, arguments.bucket).run(), "events")


if __name__ == "__main__":
    main()
