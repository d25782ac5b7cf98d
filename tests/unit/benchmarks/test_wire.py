"""The replayed Kinesis gives the same stream in CBOR as in JSON."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as Call
from urllib.request import urlopen

import pytest

from benchmarks.pages import STREAM
from benchmarks.processes import Server, server
from benchmarks.wire import CBOR, JSON, Wire, cbor, uncbor
from benchmarks.workload import Record, recent_start

SHARD = "shardId-000000000003"


@pytest.fixture(scope="module")
def replay() -> Iterator[Server]:
    start = recent_start(int(time.time() * 1000))
    with server("benchmarks.replay_server", "--events=1000", f"--start-ms={start}", "--page-records=20") as it:
        yield it


def ask(replay: Server, wire: Wire, operation: str, **arguments: Any) -> dict[str, Any]:
    """An API call in this encoding."""
    headers = {"X-Amz-Target": f"Kinesis_20131202.{operation}", "Content-Type": wire.content}
    try:
        with urlopen(Call(replay.url, wire.dumps(arguments), headers)) as reply:
            assert reply.headers["Content-Type"] == wire.content
            return wire.loads(reply.read())
    except HTTPError as refused:
        assert refused.headers["Content-Type"] == wire.content
        return wire.loads(refused.read())


def replies(replay: Server, wire: Wire, limit: int, **where: Any) -> Iterator[dict[str, Any]]:
    """Every reply from a position to the tip, with data and times in one form."""
    found = ask(replay, wire, "GetShardIterator", StreamName=STREAM, ShardId=SHARD, **where)
    token, more = found["ShardIterator"], True
    while more:
        reply = ask(replay, wire, "GetRecords", ShardIterator=token, Limit=limit)
        token, more = reply.pop("NextShardIterator"), bool(reply["Records"])
        for row in reply["Records"]:
            if wire is JSON:
                row["Data"] = b64decode(row["Data"])
                row["ApproximateArrivalTimestamp"] = round(row["ApproximateArrivalTimestamp"] * 1000)
        yield reply


@pytest.mark.parametrize("limit", [10_000, 7])
def test_replay_server_gives_the_same_replies_in_cbor_as_in_json(replay: Server, limit: int) -> None:
    """Whole pages, and parts of them."""
    expected = list(replies(replay, JSON, limit, ShardIteratorType="TRIM_HORIZON"))
    assert sum(len(reply["Records"]) for reply in expected) > 50
    assert list(replies(replay, CBOR, limit, ShardIteratorType="TRIM_HORIZON")) == expected
    middle = expected[1]["Records"][3]
    after = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": middle["SequenceNumber"]}
    rest = list(replies(replay, JSON, limit, **after))
    assert rest[0]["Records"][0] == expected[1]["Records"][4]
    assert list(replies(replay, CBOR, limit, **after)) == rest


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("ListShards", {"StreamName": STREAM}),
        ("DescribeStreamSummary", {"StreamName": STREAM}),
        ("ListShards", {"StreamName": "other"}),
        ("GetRecords", {"ShardIterator": "nonsense"}),
        ("PutRecord", {"StreamName": STREAM}),
    ],
)
def test_replay_server_gives_the_same_answers_and_refusals_in_cbor(
    replay: Server, operation: str, arguments: dict[str, str]
) -> None:
    answer = ask(replay, JSON, operation, **arguments)
    assert answer
    assert ask(replay, CBOR, operation, **arguments) == answer


def test_replay_server_counts_calls_by_encoding(replay: Server) -> None:
    """So a benchmark shows that a client spoke CBOR."""
    before = replay.ask("stats").get(CBOR.content, 0)
    ask(replay, CBOR, "ListShards", StreamName=STREAM)
    assert replay.ask("stats")[CBOR.content] == before + 1


def test_cut_page_holds_the_rows_between_both_ends() -> None:
    made = [Record(0, 1_700_000_000_000 + number, b"\x00\xff%d" % number, 1) for number in range(300)]
    for wire in (JSON, CBOR):
        rows = [wire.row(str(number), record, number) for number, record in enumerate(made)]
        cut = wire.loads(wire.cut(wire.page(rows), 10, 290) + wire.tail(0, ""))
        assert cut == wire.loads(wire.page(rows[10:290]) + wire.tail(0, ""))
        assert len(cut["Records"]) == 280


def test_cbor_writes_the_examples_of_rfc_8949() -> None:
    """Appendix A."""
    for value, written in (
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (1000, "1903e8"),
        (1000000, "1a000f4240"),
        (1000000000000, "1b000000e8d4a51000"),
        (1.1, "fb3ff199999999999a"),
        (False, "f4"),
        (True, "f5"),
        (b"\x01\x02\x03\x04", "4401020304"),
        ("ü", "62c3bc"),
        ([1, [2, 3]], "8201820203"),
        ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    ):
        assert cbor(value).hex() == written
    assert uncbor(cbor({"é": ["x" * 300, b"y" * 70_000]})) == {"é": ["x" * 300, b"y" * 70_000]}
    assert json.loads(JSON.dumps({"a": 1})) == {"a": 1}
    with pytest.raises(TypeError, match="no CBOR"):
        cbor(object())
