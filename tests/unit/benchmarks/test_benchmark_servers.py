"""The benchmark's servers answer real AWS clients, its streams hold the stated events, and its reports are right."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from rich.console import Console
from xxhash import xxh3_64_intdigest

from benchmarks.dedup import measure, of_filter
from benchmarks.http_server import unchunked
from benchmarks.options import GROUPS, options
from benchmarks.pages import MASK, STREAM, Backlog, Shard, sequence_of
from benchmarks.processes import Server, Usage, measured, server
from benchmarks.replay_server import Refusal, admit
from benchmarks.report import CaughtUp, Consumed, Idle, Measured, Published, Results, Scaled
from benchmarks.run import settings_text
from benchmarks.store_client import forget_published
from benchmarks.store_server import Bucket, Stored, counted, page_of
from benchmarks.tables import tables
from benchmarks.workload import PERIOD_MS, WORKLOADS, events, recent_start, records
from vortex.adapters.kinesis.stream import open_kinesis_stream
from vortex.adapters.s3.store import open_s3_store
from vortex.core.decode.kpl import deaggregate
from vortex.core.model import Position, Start

EVENTS = 3000
SHARD = "shardId-000000000003"
START = recent_start(int(time.time() * 1000))


@pytest.fixture(scope="module")
def replay() -> Iterator[Server]:
    arguments = ("--workload=d", f"--events={EVENTS}", f"--start-ms={START}", "--page-records=100")
    with server("benchmarks.replay_server", *arguments) as running:
        yield running


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    with server("benchmarks.store_server") as running:
        yield running


@pytest.fixture
def kinesis(replay: Server) -> Any:
    return boto3.client("kinesis", endpoint_url=replay.url, config=Config(retries={"total_max_attempts": 1}))


def pages(kinesis: Any, limit: int = 10_000, **where: Any) -> list[dict[str, Any]]:
    """Every reply from a position to the tip."""
    token = kinesis.get_shard_iterator(StreamName=STREAM, ShardId=SHARD, **where)["ShardIterator"]
    replies: list[dict[str, Any]] = []
    while not replies or replies[-1]["Records"]:
        replies.append(kinesis.get_records(ShardIterator=token, Limit=limit))
        token = replies[-1]["NextShardIterator"]
    return replies


def read(kinesis: Any, limit: int = 10_000, **where: Any) -> list[dict[str, Any]]:
    return [record for reply in pages(kinesis, limit, **where) for record in reply["Records"]]


def test_replay_server_lists_shards_that_cover_all_hash_keys(kinesis: Any) -> None:
    shards = kinesis.list_shards(StreamName=STREAM)["Shards"]
    ranges = [(int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"])) for s in shards]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 2**128 - 1
    assert all(later[0] == earlier[1] + 1 for earlier, later in pairwise(ranges))


def test_replay_server_returns_pages_in_order_up_to_the_tip(kinesis: Any) -> None:
    replies = pages(kinesis, ShardIteratorType="TRIM_HORIZON")
    assert [len(reply["Records"]) for reply in replies] == [100, 100, 100, 75, 0]
    behind = [reply["MillisBehindLatest"] for reply in replies]
    assert behind == sorted(behind, reverse=True)
    assert behind[2] > 0
    assert behind[3:] == [0, 0]
    numbers = [int(record["SequenceNumber"]) for reply in replies for record in reply["Records"]]
    assert numbers == sorted(set(numbers))


def test_replay_server_starts_each_kind_of_iterator_at_its_position(kinesis: Any) -> None:
    everything = read(kinesis, ShardIteratorType="TRIM_HORIZON")
    middle = everything[150]
    at = {"StartingSequenceNumber": middle["SequenceNumber"]}
    assert read(kinesis, ShardIteratorType="AT_SEQUENCE_NUMBER", **at) == everything[150:]
    assert read(kinesis, ShardIteratorType="AFTER_SEQUENCE_NUMBER", **at) == everything[151:]
    when = middle["ApproximateArrivalTimestamp"]
    assert read(kinesis, ShardIteratorType="AT_TIMESTAMP", Timestamp=when) == everything[150:]
    assert read(kinesis, ShardIteratorType="LATEST") == []
    assert read(kinesis, ShardIteratorType="TRIM_HORIZON", limit=7) == everything
    shards = kinesis.list_shards(StreamName=STREAM)["Shards"]
    before = {"StartingSequenceNumber": shards[3]["SequenceNumberRange"]["StartingSequenceNumber"]}
    assert read(kinesis, ShardIteratorType="AT_SEQUENCE_NUMBER", **before) == everything


def test_replay_server_refuses_wrong_calls_with_the_error_code_of_kinesis(kinesis: Any) -> None:
    for call, code in (
        (lambda: kinesis.list_shards(StreamName="other"), "ResourceNotFoundException"),
        (lambda: kinesis.get_records(ShardIterator="nonsense"), "InvalidArgumentException"),
        (lambda: kinesis.put_record(StreamName=STREAM, Data=b"", PartitionKey="k"), "UnknownOperationException"),
        (
            lambda: kinesis.get_shard_iterator(StreamName=STREAM, ShardId="none", ShardIteratorType="LATEST"),
            "ResourceNotFoundException",
        ),
    ):
        with pytest.raises(ClientError) as refused:
            call()
        assert refused.value.response["Error"]["Code"] == code


async def test_kinesis_stream_reads_all_records_of_the_replay_server(replay: Server) -> None:
    async with open_kinesis_stream(STREAM, "us-east-1", replay.url) as stream:
        assert (await stream.describe()).created_ms == START - PERIOD_MS
        found = 0
        for shard in await stream.list_shards():
            iterator = await stream.iterator(shard.id, Position(Start.TRIM_HORIZON))
            while iterator and (page := await stream.read(shard.id, iterator)).records:
                found += len(page.records)
                iterator = page.iterator
        assert found == replay.facts["records"] == EVENTS
    assert replay.facts["unique"] == EVENTS * 8 // 10


def test_admit_refuses_the_sixth_call_of_a_second_and_expired_iterators() -> None:
    shard, now = Shard(), int(time.time())
    for _ in range(5):
        admit(shard, now)
    with pytest.raises(Refusal, match="Rate exceeded"):
        admit(shard, now)
    with pytest.raises(Refusal, match="expired"):
        admit(Shard(), now - 301)


async def test_store_server_serves_every_call_of_the_s3_store(store: Server) -> None:
    """Put if absent, ranges, listings by folder and by page, deletion."""
    async with open_s3_store("s3://shelf/root", region="us-east-1", endpoint_url=store.url) as shelf:
        keys = [f"f{n % 3}/{n:04d} %=é" for n in range(1200)]
        for key in keys:
            assert await shelf.put_if_absent(key, key.encode())
        assert not await shelf.put_if_absent(keys[7], b"other")
        assert await shelf.get(keys[7]) == keys[7].encode()
        assert await shelf.get_range(keys[7], 3, 4) == b"0007"
        assert await shelf.get_range(keys[7], 3, 4000) == keys[7].encode()[3:]
        assert await shelf.get_range(keys[7], 4000, 1) == b""
        assert await shelf.get_tail(keys[7], 2) == ("é".encode(), len(keys[7].encode()))
        assert [o.key async for o in shelf.list("")] == sorted(keys)
        behind = sorted(key for key in keys if key.startswith("f1/") and key > keys[601])
        assert [o.key async for o in shelf.list("f1/", keys[601])] == behind
        assert [name async for name in shelf.list_folders("")] == ["f0", "f1", "f2"]
        await shelf.delete([*keys, "never there"])
        assert [o async for o in shelf.list("")] == []


def test_page_of_lists_each_name_once_over_many_pages() -> None:
    """Pages of one name, with folders."""
    names = ["a", "b/1", "b/2", "b/3", "c", "d/1", "d/2"]
    seen: list[str] = []
    after, more = "", True
    while more:
        rows, after, more = page_of([name for name in names if name > after], "", "/", after, 1)
        seen += [name for name, _ in rows]
    assert seen == ["a", "b/", "c", "d/"]


def test_store_server_serves_large_bodies_and_head_requests(store: Server) -> None:
    """Bodies of several reads, including 100-continue, with boto3's defaults."""
    s3 = boto3.client("s3", endpoint_url=store.url)
    body = bytes(range(256)) * 40_000
    s3.put_object(Bucket="shelf", Key="large", Body=body, Metadata={"digest": "7"})
    assert s3.get_object(Bucket="shelf", Key="large")["Body"].read() == body
    head = s3.head_object(Bucket="shelf", Key="large")
    assert (head["ContentLength"], head["Metadata"]) == (len(body), {"digest": "7"})
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="shelf", Key="missing")


def test_unchunked_takes_a_body_only_when_it_is_whole() -> None:
    """Over TLS boto3 sends chunks of `aws-chunked` in chunks of HTTP."""
    whole = b"3;chunk-signature=0\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:0\r\n\r\n"
    assert unchunked(whole + b"PUT") == (b"abcde", len(whole))
    assert unchunked(b"0\r\n\r\n") == (b"", 5)
    assert all(unchunked(whole[:size]) == (b"", 0) for size in range(len(whole)))


async def test_forget_published_deletes_everything_but_logs_and_stream_state(store: Server) -> None:
    """A worker that starts then has everything to publish again, and nothing to read."""
    logs = ["_vortex/s@1/shards/shardId-1/000000000000.seg", "_vortex/s@1/stream.json"]
    async with open_s3_store("s3://forgetful", region="us-east-1", endpoint_url=store.url) as shelf:
        published = ["_vortex/s@1/plans/0000000000/plan.json", "_hours/x", "_manifests/x", "customer=/shards/x.gz"]
        for key in [*logs, *published]:
            await shelf.put_if_absent(key, b"")
        forget_published(store.url, "forgetful")
        assert [each.key async for each in shelf.list("")] == logs


def test_baseline_writes_every_event_once(replay: Server, store: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.baseline"]
    command += [f"--kinesis={replay.url}", f"--store={store.url}", "--bucket=baseline"]
    usage = measured(command, tmp_path / "log")
    held = store.ask("rows/baseline/customer=")
    assert (held["rows"], held["digest"]) == (replay.facts["unique"], replay.facts["digest"])
    assert usage.cpu_s > 0
    assert usage.peak_rss > 2**24


def test_counted_digest_depends_on_the_lines_and_not_on_their_members() -> None:
    def count(*members: bytes) -> dict[str, int]:
        bucket, body = Bucket(), b"".join(gzip.compress(member) for member in members)
        bucket.put("k", Stored(body, "", datetime.now(UTC), {}))
        return counted(bucket, "")

    assert count(b"a\nb\n")["digest"] == count(b"b\n", b"a\n")["digest"]
    assert count(b"a\nb\n")["rows"] == 2
    assert count(b"a\nb\n")["digest"] not in (count(b"a\na\n")["digest"], count(b"b\nb\n")["digest"])


def test_events_have_the_stated_size_and_depend_only_on_the_seed() -> None:
    made = list(events(1, 4000))
    assert made == list(events(1, 4000))
    assert made != list(events(2, 4000))
    assert 974 < sum(map(len, made)) / len(made) < 994
    small = list(events(1, 4000, small=True))
    assert 190 < sum(map(len, small)) / len(small) < 210
    for event in (*map(json.loads, made), *map(json.loads, small)):
        assert event["messageId"]
        assert event["context"]["app"]["namespace"]
        assert event["type"] == "track" or "event" not in event


@pytest.mark.parametrize("name", ["a", "b", "c-ndjson", "c-kpl", "d"])
def test_records_carry_all_events_of_the_workload(name: str) -> None:
    workload = WORKLOADS[name]
    made = list(records(workload, 1, 4321, START))
    assert sum(record.events for record in made) == 4321
    lines = []
    for record in made:
        if workload.packing == "kpl":
            parts = deaggregate(record.data)
            assert parts is not None
            lines += parts
        else:
            lines += record.data.split(b"\n")
    assert len(lines) == 4321
    assert len(set(lines)) == round(4321 * (1 - workload.duplicates))
    arrivals = [(record.shard, record.arrival_ms) for record in made]
    for shard in range(workload.shards):
        mine = [at for index, at in arrivals if index == shard]
        assert mine == sorted(mine)
        assert START <= mine[0] <= mine[-1] < START + PERIOD_MS


def test_backlog_returns_the_same_pages_in_any_order_of_reads() -> None:
    """Its pages are made on demand. Each line is there once, at its own time."""
    workload = WORKLOADS["e"]
    backlog = Backlog(workload, 1, 10_007, START, 100)
    shards = backlog.shards()
    assert sum(len(shard.arrivals) for shard in shards) == 10_007
    places = [(index, page) for index, shard in enumerate(shards) for page in shard.pages]
    assert backlog.facts.pages == len(places)
    made = {(index, page.first): backlog.read(index, page) for index, page in reversed(places)}
    facts = backlog.facts.document()
    assert all(made[index, page.first] == backlog.read(index, page) for index, page in places[::7])
    assert backlog.facts.document() == facts
    rows = [(index, row) for (index, _), page in made.items() for row in json.loads(page + b"}")["Records"]]
    lines = {b64decode(row["Data"]) for _, row in rows}
    assert len(lines) == len(rows) == facts["unique"] == 10_007
    assert sum(map(len, lines)) + len(lines) == facts["line_bytes"]
    assert sum(map(xxh3_64_intdigest, lines)) & MASK == facts["digest"]
    for index, shard in enumerate(shards):
        numbers = sorted(int(row["SequenceNumber"]) for at, row in rows if at == index)
        assert numbers == [sequence_of(index, number) for number in range(len(shard.arrivals))]
        assert list(shard.arrivals) == sorted(shard.arrivals)
        assert START <= shard.arrivals[0] <= shard.arrivals[-1] < START + workload.span_ms


def test_results_report_ratios_without_start_up_time(tmp_path: Path) -> None:
    """The start-up time is subtracted and shown; the deduplication figures are measured ones."""

    def consumed(cpu_s: float, start_s: float) -> Consumed:
        return Consumed(Usage(cpu_s, 0, 9, 2**27), Usage(start_s, 0, 1, 2**26), {"objects": 7, "put_bytes": 3_100_000})

    row = Measured("a", "title", 10**6, 10**6, 10**9, 10**6, 1000, consumed(11, 1), consumed(51.5, 1.5), 2.0)
    idle = Idle("f", "idle", 30, 3, 6000, 0, 0, Usage(3, 0, 30, 2**27, 2**26))
    caught_up = CaughtUp("e", "backlog", 10**6, 10**9, consumed(11, 1))
    dedup = asyncio.run(measure(tmp_path, plans=3, rows=32_000, copies=0.1, memory=2**20))
    assert dedup["dropped"] == 3198, "a tenth, in three equal parts"
    dedup["filter"] = of_filter(20_000, 1000)
    scaled = Scaled("two", "shared", 10**6, Usage(9, 1, 10, 2**27), Usage(10, 1, 6, 2**27), 5_000_000)
    spent, wrote = [Usage(n, 0, 1, 2**27) for n in (9, 2, 4)], {"objects": 500, "bytes": 10**6}
    start = [Usage(1, 0, 1, 2**26)]
    fewer = Published("b", "title", 10**5, wrote, [Usage(2.2, 0, 1, 2**27)], start)
    published = Published("b", "title", 10**6, wrote, spent, start, fewer)
    results = Results([row], [published], [caught_up], [scaled], [idle], dedup)
    document = results.document(page_records=1000)
    assert document["published"]["b"]["cpu_s"] == 3, "the median of three, less a start"
    assert document["published"]["b"]["cpu_s_of_an_event"] == pytest.approx(2e-6)
    assert document["published"]["b"]["cpu_s_of_an_object"] == pytest.approx(2e-3)
    assert document["workloads"]["a"]["ratios"] == pytest.approx(
        {"baseline_marginal": 5.0, "baseline_all_in": 51.5 / 11, "floor_marginal": 5.0}
    )
    assert document["idle"]["f"]["ms_per_poll"] == pytest.approx(0.5)
    assert document["caught_up"]["e"]["events_per_s"] == pytest.approx(10**6 / 9)
    assert document["scaled"]["two"]["speed_up_by_cpu"] == pytest.approx(20 / 11)
    json.dumps(document)
    console = Console(width=136, file=StringIO())
    for table in tables(results):
        console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    cells = [cell.strip() for line in shown.splitlines() if "a: title" in line for cell in line.split("│")[2:-1]]
    assert cells == ["5.0", "5.0", "10.0", "50.0", "2.00", "128 / 128", "3.1 / 3.1", "1,000,000", "7"]


def test_options_select_all_short_workloads_by_default_and_refuse_unknown_ones() -> None:
    assert set(GROUPS) - set(options(None, []).workload) == {"e", "two"}, "these take minutes"
    assert settings_text(["commit.every=10s", "commit.max_bytes=1MiB"]) == (
        '\n[commit]\nevery = "10s"\nmax_bytes = "1MiB"\n'
    )
    with pytest.raises(SystemExit):
        options(None, ["--workload", "z"])
