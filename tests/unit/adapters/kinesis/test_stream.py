"""Kinesis replies as they come over the wire: usual, unusual and wrong. The server is a script on loopback."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.unit.adapters.kinesis.script import (
    AFTER,
    ARN,
    CLOSED,
    DATE_MS,
    HALF,
    LEFT,
    RIGHT,
    SHARD,
    Script,
    answer,
    child,
    failure,
    listed,
    page,
    record_of,
)
from vortex.adapters.kinesis.stream import KinesisStream, open_kinesis_stream
from vortex.core.model import Record
from vortex.ports import Denied, IteratorExpired, PortError, Unavailable


async def test_read_returns_the_records_of_a_page(script: Script, stream: KinesisStream) -> None:
    script.on(
        "GetRecords", page(record_of("7", b"one"), record_of("8", b"\x00\xff", 1545116709.123), MillisBehindLatest=1234)
    )
    got = await stream.read(SHARD, "this")
    assert got.records == [Record("7", 1.5, b"one"), Record("8", 1545116709.123, b"\x00\xff")]
    assert (got.iterator, got.behind_ms, got.server_ms, got.children, got.size) == ("next", 1234, DATE_MS, (), 5)
    assert script.asked == [("GetRecords", {"ShardIterator": "this", "Limit": 10_000})]


async def test_calls_send_the_stream_arn_when_it_is_configured(script: Script) -> None:
    script.on("GetRecords", page())
    script.on("GetShardIterator", lambda: answer({"ShardIterator": "first"}))
    async with open_kinesis_stream(ARN, endpoint_url=script.url) as stream:
        await stream.read(SHARD, "this")
        assert await stream.iterator(SHARD, AFTER) == "first"
    assert [asked["StreamARN"] for _, asked in script.asked] == [ARN, ARN]


@pytest.mark.parametrize("arrival", [1545116709, 1.545116709e9, 0])
async def test_read_accepts_arrival_times_in_any_notation(
    script: Script, stream: KinesisStream, arrival: float
) -> None:
    script.on("GetRecords", page(record_of("7", b"", arrival)))
    assert (await stream.read(SHARD, "this")).records[0].arrival == arrival


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="empty"),
        pytest.param("<html>", id="no JSON"),
        pytest.param("[]", id="no object"),
        pytest.param('{"Records":[', id="cut"),
        pytest.param('{"MillisBehindLatest":0}', id="no records"),
        pytest.param('{"Records":[],"NextShardIterator":"next"}', id="no lag: not the same as zero"),
        pytest.param('{"Records":[],"MillisBehindLatest":null}', id="null lag"),
        pytest.param('{"Records":[{"SequenceNumber":"1","Data":""}],"MillisBehindLatest":0}', id="no arrival"),
        pytest.param(
            '{"Records":[{"SequenceNumber":"1","Data":"!","ApproximateArrivalTimestamp":1}],"MillisBehindLatest":0}',
            id="no base64",
        ),
        pytest.param('{"Records":[],"MillisBehindLatest":0,"NextShardIterator":5}', id="iterator of another type"),
    ],
)
async def test_read_is_unavailable_when_the_body_is_invalid(script: Script, stream: KinesisStream, body: str) -> None:
    script.on("GetRecords", lambda: answer(body), page(record_of("7", b"one")))
    with pytest.raises(Unavailable) as refused:
        await stream.read(SHARD, "this")
    assert refused.value.cause == "malformed"
    assert "events" in str(refused.value)
    assert len((await stream.read(SHARD, "this")).records) == 1


@pytest.mark.parametrize("date", ["yesterday", ""])
async def test_read_is_unavailable_when_the_date_is_invalid(script: Script, stream: KinesisStream, date: str) -> None:
    script.on(
        "GetRecords", lambda: answer({"Records": [], "MillisBehindLatest": 0, "NextShardIterator": "n"}, 200, date)
    )
    with pytest.raises(Unavailable) as refused:
        await stream.read(SHARD, "this")
    assert refused.value.cause == "malformed"


async def test_read_takes_a_date_without_a_zone_for_utc(
    script: Script, stream: KinesisStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old form of `asctime` has no zone. The machine's own time zone has nothing to do with it."""
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    try:
        empty = {"Records": [], "MillisBehindLatest": 0, "NextShardIterator": "n"}
        script.on("GetRecords", lambda: answer(empty, 200, "Tue Dec 18 07:05:09 2018"))
        assert (await stream.read(SHARD, "this")).server_ms == DATE_MS
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ExpiredIteratorException", IteratorExpired),
        ("InvalidArgumentException", IteratorExpired),
        ("ResourceNotFoundException", IteratorExpired),
        ("ProvisionedThroughputExceededException", Unavailable),
        ("KMSThrottlingException", Unavailable),
        ("InternalFailure", Unavailable),
        ("ExpiredTokenException", Unavailable),
        ("AccessDeniedException", Denied),
    ],
)
async def test_read_raises_the_port_error_of_the_error_code(
    script: Script, stream: KinesisStream, code: str, kind: type[PortError]
) -> None:
    """Errors go through botocore's parser, and are sorted by what the caller must do."""
    script.on("GetRecords", lambda: failure(code))
    with pytest.raises(kind) as refused:
        await stream.read(SHARD, "this")
    assert type(refused.value) is kind
    assert "events" in str(refused.value)
    assert len(script.asked) == 1, "no hidden retries"


@pytest.mark.parametrize("status", [500, 503])
async def test_read_is_unavailable_when_a_gateway_answers_with_html(
    script: Script, stream: KinesisStream, status: int
) -> None:
    script.on("GetRecords", lambda: answer("<html>Bad Gateway</html>", status))
    with pytest.raises(Unavailable):
        await stream.read(SHARD, "this")


async def test_read_is_unavailable_when_the_server_refuses_connections(stream: KinesisStream, script: Script) -> None:
    async with open_kinesis_stream("events", "us-east-1", "http://127.0.0.1:1") as nowhere:
        with pytest.raises(Unavailable):
            await nowhere.read(SHARD, "this")


async def test_read_returns_the_children_at_the_end_of_a_split_shard(script: Script, stream: KinesisStream) -> None:
    children = [child("shardId-000000000001", SHARD), child("shardId-000000000002", SHARD)]
    script.on("GetRecords", page(record_of("7", b"x"), NextShardIterator=None, ChildShards=children))
    got = await stream.read(SHARD, "this")
    assert (len(got.records), got.iterator) == (1, None)
    assert [(info.id, info.parents, info.end_hash) for info in got.children] == [
        ("shardId-000000000001", (SHARD,), 2**128 - 1),
        ("shardId-000000000002", (SHARD,), 2**128 - 1),
    ]


async def test_read_returns_both_parents_of_a_child_at_the_end_of_a_merged_shard(
    script: Script, stream: KinesisStream
) -> None:
    merged = child("shardId-000000000002", SHARD, "shardId-000000000001")
    body = {"Records": [], "MillisBehindLatest": 0, "ChildShards": [merged]}  # the iterator is missing, not null
    script.on("GetRecords", lambda: answer(body))
    assert (await stream.read(SHARD, "this")).children[0].parents == (SHARD, "shardId-000000000001")


async def test_read_ignores_children_when_the_reply_has_an_iterator(script: Script, stream: KinesisStream) -> None:
    script.on("GetRecords", page(ChildShards=[child("shardId-000000000001", SHARD)]))
    got = await stream.read(SHARD, "this")
    assert (got.iterator, got.children) == ("next", ())


@pytest.mark.parametrize(
    "children",
    [
        [{}],
        [7],
        "x",
        [child("shardId-000000000001", SHARD) | {"HashKeyRange": {"StartingHashKey": "a", "EndingHashKey": "b"}}],
        [child("shardId-000000000001", SHARD) | {"HashKeyRange": None}],
        [child("shardId-000000000001", SHARD) | {"ParentShards": [None]}],
    ],
    ids=str,
)
async def test_read_is_unavailable_when_the_children_are_invalid(
    script: Script, stream: KinesisStream, children: object
) -> None:
    script.on("GetRecords", page(NextShardIterator=None, ChildShards=children))
    with pytest.raises(Unavailable, match=f"events {SHARD} in us-east-1") as refused:
        await stream.read(SHARD, "this")
    assert refused.value.cause == "malformed"


async def test_read_treats_an_empty_next_iterator_as_none(script: Script, stream: KinesisStream) -> None:
    """The end must be confirmed, and the records are kept."""
    script.on("GetRecords", page(record_of("7", b"x"), NextShardIterator="", ChildShards=[child("c", SHARD)]))
    got = await stream.read(SHARD, "this")
    assert (len(got.records), got.iterator) == (1, None)


@pytest.mark.parametrize("named", [None, []])
async def test_read_lists_shards_when_an_end_has_no_children(
    script: Script, stream: KinesisStream, named: object
) -> None:
    script.on("GetRecords", page(record_of("7", b"x"), NextShardIterator=None, ChildShards=named))
    script.on("ListShards", lambda: answer({"Shards": [CLOSED, LEFT, RIGHT]}))
    got = await stream.read(SHARD, "this")
    assert [info.id for info in got.children] == ["shardId-000000000001", "shardId-000000000002"]
    assert len(got.records) == 1


async def test_read_finds_the_child_of_a_merge_by_either_parent(script: Script, stream: KinesisStream) -> None:
    other = "shardId-000000000001"
    parts = [listed(SHARD, 0, HALF - 1, True), listed(other, HALF, 2**128 - 1, True)]
    merged = listed("shardId-000000000002", 0, 2**128 - 1, ParentShardId=SHARD, AdjacentParentShardId=other)
    script.on("GetRecords", page(NextShardIterator=None))
    script.on("ListShards", lambda: answer({"Shards": [*parts, merged]}))
    for shard in (SHARD, other):
        (found,) = (await stream.read(shard, "this")).children
        assert found.parents == (SHARD, other)


@pytest.mark.parametrize("shards", [[], [CLOSED], [CLOSED, LEFT]], ids=["nothing", "no child", "half a split"])
async def test_read_is_unavailable_when_the_listed_children_do_not_cover_the_shard(
    script: Script, stream: KinesisStream, shards: list[Any]
) -> None:
    script.on("GetRecords", page(record_of("7", b"x"), NextShardIterator=None))
    script.on("ListShards", lambda: answer({"Shards": shards}))
    with pytest.raises(Unavailable) as refused:
        await stream.read(SHARD, "this")
    assert refused.value.cause == "inconsistent_end"
