"""Listing shards, describing the stream and getting iterators, over the wire."""

from __future__ import annotations

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
    SUMMARY,
    Script,
    answer,
    failure,
    listed,
)
from vortex.adapters.kinesis.stream import KinesisStream
from vortex.core.model import Position, ShardInfo, Start
from vortex.ports import Denied, InvalidPosition, NotFound, Unavailable


async def test_list_shards_merges_the_rows_of_several_pages(script: Script, stream: KinesisStream) -> None:
    """A token is sent alone. A shard that is listed twice is kept once, by the row that has its end."""
    script.on(
        "ListShards",
        lambda: answer({"Shards": [RIGHT, listed(SHARD, 0, 2**128 - 1)], "NextToken": "more"}),
        lambda: answer({"Shards": [CLOSED, LEFT], "NextToken": "last"}),
        lambda: answer({"Shards": [listed(SHARD, 0, 2**128 - 1)]}),
    )
    assert await stream.list_shards() == [
        ShardInfo(SHARD, (), 0, 2**128 - 1, "1", "9"),
        ShardInfo("shardId-000000000001", (SHARD,), 0, HALF - 1, "1", None),
        ShardInfo("shardId-000000000002", (SHARD,), HALF, 2**128 - 1, "1", None),
    ]
    assert [asked for _, asked in script.asked] == [
        {"StreamName": "events"},
        {"NextToken": "more"},
        {"NextToken": "last"},
    ]


async def test_list_shards_starts_over_when_its_token_has_expired(script: Script, stream: KinesisStream) -> None:
    script.on(
        "ListShards",
        lambda: answer({"Shards": [CLOSED], "NextToken": "old"}),
        lambda: failure("ExpiredNextTokenException"),
        lambda: answer({"Shards": [LEFT]}),
    )
    assert [info.id for info in await stream.list_shards()] == ["shardId-000000000001"]
    assert [asked for _, asked in script.asked] == [
        {"StreamName": "events"},
        {"NextToken": "old"},
        {"StreamName": "events"},
    ]


async def test_describe_returns_name_and_arn_and_creation_time_and_retention(
    script: Script, stream: KinesisStream
) -> None:
    script.on("DescribeStreamSummary", lambda: answer(SUMMARY))
    info = await stream.describe()
    assert (info.name, info.arn, info.created_ms, info.retention_ms) == ("events", ARN, 1_545_000_000_123, 172_800_000)
    assert await stream.server_time() == DATE_MS


@pytest.mark.parametrize(
    ("position", "asked"),
    [
        (Position(Start.TRIM_HORIZON), {}),
        (Position(Start.LATEST), {}),
        (AFTER, {"StartingSequenceNumber": "5"}),
        (Position(Start.AT_SEQUENCE_NUMBER, "6"), {"StartingSequenceNumber": "6"}),
        (Position(Start.AT_TIMESTAMP, "1545116709123"), {"Timestamp": 1545116709.123}),
        (Position(Start.AT_TIMESTAMP, "1545116709000"), {"Timestamp": 1545116709}),
    ],
)
async def test_iterator_sends_the_parameters_of_the_position(
    script: Script, stream: KinesisStream, position: Position, asked: dict[str, Any]
) -> None:
    script.on("GetShardIterator", lambda: answer({"ShardIterator": "first"}))
    assert await stream.iterator(SHARD, position) == "first"
    expected = {"StreamName": "events", "ShardId": SHARD, "ShardIteratorType": position.kind.value} | asked
    assert script.asked == [("GetShardIterator", expected)]


@pytest.mark.parametrize("body", [{}, {"ShardIterator": None}])
async def test_iterator_returns_none_when_the_reply_has_none(
    script: Script, stream: KinesisStream, body: dict[str, None]
) -> None:
    script.on("GetShardIterator", lambda: answer(body))
    assert await stream.iterator(SHARD, AFTER) is None


async def test_iterator_raises_invalid_position_when_the_position_is_refused(
    script: Script, stream: KinesisStream
) -> None:
    script.on("GetShardIterator", lambda: failure("InvalidArgumentException"))
    with pytest.raises(InvalidPosition, match=SHARD):
        await stream.iterator(SHARD, AFTER)


async def test_iterator_distinguishes_a_missing_shard_from_a_missing_stream(
    script: Script, stream: KinesisStream
) -> None:
    script.on("GetShardIterator", lambda: failure("ResourceNotFoundException"))
    script.on("DescribeStreamSummary", lambda: answer(SUMMARY), lambda: failure("ResourceNotFoundException"))
    with pytest.raises(NotFound, match=SHARD):
        await stream.iterator(SHARD, AFTER)
    with pytest.raises(Denied, match="events"):
        await stream.iterator(SHARD, AFTER)


async def test_calls_are_denied_when_the_stream_does_not_exist(script: Script, stream: KinesisStream) -> None:
    for operation in ("DescribeStreamSummary", "ListShards"):
        script.on(operation, lambda: failure("ResourceNotFoundException"))
    for call in (stream.describe(), stream.server_time(), stream.list_shards()):
        with pytest.raises(Denied, match="events"):
            await call


async def test_list_shards_is_unavailable_while_the_stream_is_being_created(
    script: Script, stream: KinesisStream
) -> None:
    script.on("ListShards", lambda: failure("ResourceInUseException"))
    with pytest.raises(Unavailable):
        await stream.list_shards()
