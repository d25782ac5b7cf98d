"""GetRecords is asked for in CBOR; an endpoint that does not know it is asked in JSON, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.wire import Time, cbor
from tests.kinesis_wire import is_cbor, reply
from tests.random_cbor import differing_cbor
from vortex.adapters.aws.cbor import CONTENT_TYPE as CBOR
from vortex.adapters.aws.cbor import NotCbor
from vortex.adapters.kinesis import encoding
from vortex.adapters.kinesis.get_records import decode_cbor
from vortex.adapters.kinesis.stream import KinesisStream, open_kinesis_stream
from vortex.core.native import IN_C
from vortex.ports import IteratorExpired, PortError, Unavailable

SHARD = "shardId-000000000000"
ROW = {"SequenceNumber": "7", "ApproximateArrivalTimestamp": 1_545_116_709.5, "Data": "AAAA", "PartitionKey": "p"}
PAGE = {"Records": [ROW], "MillisBehindLatest": 9, "NextShardIterator": "next"}
in_c = pytest.mark.skipif(not IN_C, reason="the steps in C are not installed")
pytestmark = in_c

Answer = Callable[[web.Request], Awaitable[web.Response]]


class Endpoint:
    """Answers in JSON, and in CBOR as `answer` says. `kinds`: the content types of the requests."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.kinds: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        kind = request.headers["Content-Type"]
        self.kinds.append("cbor" if is_cbor(kind) else "json")
        return await self.answer(request) if is_cbor(kind) else said(request, PAGE)


def said(request: web.Request, document: Any, status: int = 200) -> web.Response:
    kind, body = reply(request.headers["Content-Type"], document)
    return web.Response(status=status, body=body, headers={"Content-Type": kind})


def always(status: int, body: bytes, kind: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={"Content-Type": kind})

    return answer


async def in_cbor(request: web.Request) -> web.Response:
    return said(request, PAGE)


async def closes(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def hangs(request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


@asynccontextmanager
async def opened(answer: Answer, **options: Any) -> AsyncIterator[tuple[Endpoint, KinesisStream]]:
    endpoint, app = Endpoint(answer), web.Application()
    app.router.add_post("/", endpoint.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        url = str(server.make_url("/"))
        async with open_kinesis_stream("events", "us-east-1", url, **options) as stream:
            yield endpoint, stream


async def read(stream: KinesisStream) -> tuple[list[tuple[str, float, bytes]], int, str | None]:
    page = await stream.read(SHARD, "iterator")
    return [(record.sequence, record.arrival, record.data) for record in page.records], page.behind_ms, page.iterator


READ = ([("7", 1_545_116_709.5, b"\0\0\0")], 9, "next")


async def test_read_asks_in_cbor_when_the_endpoint_knows_it() -> None:
    async with opened(in_cbor) as (endpoint, stream):
        assert [await read(stream) for _ in range(3)] == [READ] * 3
    assert endpoint.kinds == ["cbor"] * 3


TEXT_DATA = {**PAGE, "Records": [{**ROW, "Data": "AA AA"}]}
OTHERS = {
    "status 415": always(415, b"", CBOR.replace("cbor", "json")),
    "status 500 with a page": always(500, b"<html>no</html>", "text/html"),
    "status 404": always(404, b"", "text/plain"),
    "status 400 in JSON": always(400, b'{"__type":"SerializationException"}', "application/x-amz-json-1.1"),
    "status 403 with a page": always(403, b"<html>blocked</html>", "text/html"),
    "a page with status 200": always(200, b"<html>hello</html>", "text/html"),
    "JSON with status 200": always(200, b"{}", "application/x-amz-json-1.1"),
    "random bytes as CBOR": always(200, b"\x9f\x00", CBOR),
    "nothing as CBOR": always(200, b"", CBOR),
    "data as a text": always(200, reply(CBOR, TEXT_DATA)[1], CBOR),
    "status 400 without an error in CBOR": always(400, b"", CBOR),
    "status 404 with the type of the request": always(404, b"not found", CBOR),
    "an error in CBOR with a time": always(400, cbor({"__type": "Odd", "at": Time(1_545_116_709_123)}), CBOR),
    "status 202 with a page in CBOR": always(202, reply(CBOR, PAGE)[1], CBOR),
    "status 400 in Latin-1": always(400, "für".encode("latin-1"), "text/plain; charset=iso-8859-1"),
    "status 400 with a list": always(400, b"[]", "application/x-amz-json-1.1"),
    "status 302": always(302, b"", "text/html"),
    "a large rest": always(200, cbor({**PAGE, "Records": [], "Other": [[]] * 20_000}), CBOR),
    "no time behind the tip": always(200, cbor({"Records": []}), CBOR),
    "a time behind the tip in a text": always(200, cbor({"Records": [], "MillisBehindLatest": "7"}), CBOR),
}


async def test_read_returns_the_children_of_an_ended_shard() -> None:
    child = {
        "ShardId": "shardId-000000000007",
        "ParentShards": [SHARD],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
    }

    async def answer(request: web.Request) -> web.Response:
        return said(request, {**PAGE, "NextShardIterator": None, "ChildShards": [child]})

    async with opened(answer) as (endpoint, stream):
        page = await stream.read(SHARD, "iterator")
    assert [(each.id, each.parents, each.start_hash, each.end_hash) for each in page.children] == [
        ("shardId-000000000007", (SHARD,), 0, 2**128 - 1)
    ]
    assert (page.iterator, len(page.records), endpoint.kinds) == (None, 1, ["cbor"])


@pytest.mark.parametrize("other", OTHERS)
async def test_read_asks_in_json_when_the_reply_is_not_in_cbor(other: str, caplog: pytest.LogCaptureFixture) -> None:
    """At once, within the call; from then on it asks in JSON first, and says so in one line."""
    caplog.set_level("INFO", "vortex")
    async with opened(OTHERS[other]) as (endpoint, stream):
        assert [await read(stream) for _ in range(3)] == [READ] * 3
    assert endpoint.kinds == ["cbor", "json", "json", "json"]
    assert [record.getMessage() for record in caplog.records if "in JSON, not in CBOR" in record.getMessage()] != []


async def test_reads_of_many_shards_say_once_that_they_ask_in_json(caplog: pytest.LogCaptureFixture) -> None:
    """All of them find out at the same time."""
    caplog.set_level("INFO", "vortex")
    async with opened(OTHERS["status 415"]) as (endpoint, stream):
        assert await asyncio.gather(*(read(stream) for _ in range(8))) == [READ] * 8
    assert endpoint.kinds.count("json") == 8
    assert len([record for record in caplog.records if "in JSON, not in CBOR" in record.getMessage()]) == 1


async def test_read_asks_in_cbor_again_when_some_time_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint may have been replaced, or its answer was that of something before it."""
    monkeypatch.setattr(encoding, "_LEAST_S", 0.0)
    async with opened(always(503, b"", "text/plain")) as (endpoint, stream):
        assert await read(stream) == READ
        endpoint.answer = in_cbor
        assert await read(stream) == READ
    assert endpoint.kinds == ["cbor", "json", "cbor"]


@pytest.mark.parametrize("answer", [closes, hangs])
async def test_read_asks_in_json_when_a_first_call_in_cbor_brought_no_reply(answer: Answer) -> None:
    """Something between may drop what it does not know. The lost call fails as any other."""
    async with opened(answer, connect_timeout_s=0.1, read_timeout_s=0.1) as (endpoint, stream):
        with pytest.raises(Unavailable):
            await read(stream)
        assert await read(stream) == READ
    assert endpoint.kinds[-1] == "json"
    assert set(endpoint.kinds[:-1]) == {"cbor"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ExpiredIteratorException", IteratorExpired),
        ("com.amazonaws.kinesis#ProvisionedThroughputExceededException", Unavailable),
        ("InternalFailure", Unavailable),
    ],
)
async def test_read_raises_the_error_that_the_reply_in_cbor_names(code: str, expected: type[PortError]) -> None:
    """And does not ask again in JSON, also where it is the first reply."""

    async def refuses(request: web.Request) -> web.Response:
        return said(request, {"__type": code, "message": "said so"}, 400)

    async with opened(refuses) as (endpoint, stream):
        with pytest.raises(expected, match="said so"):
            await read(stream)
        endpoint.answer = in_cbor
        assert await read(stream) == READ
    assert endpoint.kinds == ["cbor", "cbor"]


async def test_read_stays_with_cbor_when_something_else_answers_a_later_call() -> None:
    """A load balancer's page is no sign that Kinesis has forgotten CBOR; a lost connection neither."""
    async with opened(in_cbor) as (endpoint, stream):
        assert await read(stream) == READ
        endpoint.answer = always(503, b"<html>busy</html>", "text/html")
        assert await read(stream) == READ
        endpoint.answer = closes
        with pytest.raises(Unavailable):
            await read(stream)
        endpoint.answer = in_cbor
        assert await read(stream) == READ
    assert endpoint.kinds == ["cbor", "cbor", "json", "cbor", "cbor"]


@pytest.mark.parametrize("answer", [closes, hangs, *OTHERS.values()])
async def test_read_asks_in_json_when_an_endpoint_has_forgotten_cbor(answer: Answer) -> None:
    """Another version of an emulator, another gateway: after three calls that failed."""
    async with opened(in_cbor, connect_timeout_s=0.1, read_timeout_s=0.1) as (endpoint, stream):
        assert await read(stream) == READ
        endpoint.answer = answer
        for _ in range(3):
            with suppress(Unavailable):
                await read(stream)
        endpoint.kinds.clear()
        assert [await read(stream) for _ in range(2)] == [READ] * 2
    assert endpoint.kinds == ["json"] * 2


async def test_read_asks_a_page_again_in_json_when_it_is_not_readable_in_cbor() -> None:
    """Also where pages before it were: no page may hold up its shard. The next one is asked for in CBOR."""
    async with opened(in_cbor) as (endpoint, stream):
        assert await read(stream) == READ
        endpoint.answer = always(200, b"<html>hello</html>", "text/html")
        assert await read(stream) == READ
        endpoint.answer = in_cbor
        assert await read(stream) == READ
    assert endpoint.kinds == ["cbor", "cbor", "json", "cbor"]


async def test_read_stays_with_json_when_only_empty_pages_are_readable_in_cbor() -> None:
    """Else each page would come twice, and count twice for the limits of the shard."""
    pages = iter([{**PAGE, "Records": []}, TEXT_DATA] * 5)

    async def answer(request: web.Request) -> web.Response:
        return said(request, next(pages))

    async with opened(answer) as (endpoint, stream):
        assert [(await read(stream))[0] for _ in range(8)] == [[], READ[0]] * 3 + [READ[0]] * 2
    assert endpoint.kinds == ["cbor", "cbor", "json"] * 3 + ["json"] * 2


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_decode_cbor_returns_the_written_records_in_any_legal_form(seed: int) -> None:
    """And of broken replies either nothing, or what botocore reads, too."""
    assert not differing_cbor(Random(seed))


@given(st.binary(max_size=100))
def test_decode_cbor_raises_not_cbor_for_random_bytes(body: bytes) -> None:
    with pytest.raises(NotCbor):
        decode_cbor(body)


RECORD = {"SequenceNumber": "7", "ApproximateArrivalTimestamp": Time(1_545_116_709_500), "Data": b"x"}


@pytest.mark.parametrize(
    "changes",
    [
        {"Data": "eA=="},
        {"Data": None},
        {"SequenceNumber": "7\n8"},
        {"SequenceNumber": ""},
        {"SequenceNumber": "7a"},
        {"SequenceNumber": 7},
        {"ApproximateArrivalTimestamp": "1.5"},
        {"ApproximateArrivalTimestamp": float("nan")},
        {"ApproximateArrivalTimestamp": -1.0},
        {"ApproximateArrivalTimestamp": float("inf")},
        {"ApproximateArrivalTimestamp": 2**53},
    ],
)
def test_decode_cbor_leaves_records_with_odd_members_to_json(changes: dict[str, Any]) -> None:
    end = {"MillisBehindLatest": 0}
    assert [record.arrival for record in decode_cbor(cbor({"Records": [RECORD], **end})).records] == [1_545_116_709.5]
    with pytest.raises(NotCbor):
        decode_cbor(cbor({"Records": [{**RECORD, **changes}], **end}))
    for name in RECORD:
        with pytest.raises(NotCbor):
            decode_cbor(cbor({"Records": [{key: value for key, value in RECORD.items() if key != name}], **end}))


@pytest.mark.parametrize("kind", [b"\x81", b"\xa1\x60", b"\xc1", b"\x9f", b"\xbf\x60"])
def test_decode_cbor_leaves_deep_members_to_json(kind: bytes) -> None:
    """A hundred thousand arrays in each other would need a stack of that depth."""
    start = b"\xa2" + cbor("Records") + b"\x80" + cbor("x")
    with pytest.raises(NotCbor):
        decode_cbor(start + kind * 100_000 + b"\x00")


@pytest.mark.parametrize("length", [2**16, 2**32, 2**62, 2**64 - 1])
@pytest.mark.parametrize("kind", [2, 3, 4, 5])
def test_decode_cbor_leaves_lengths_beyond_the_reply_to_json(kind: int, length: int) -> None:
    start = b"\xa2" + cbor("Records") + b"\x80" + cbor("x")
    with pytest.raises(NotCbor):
        decode_cbor(start + bytes([kind << 5 | 27]) + length.to_bytes(8, "big") + b"\x00")
