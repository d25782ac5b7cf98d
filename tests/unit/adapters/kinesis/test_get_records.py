"""GetRecords is sent without botocore: the request must be the one that botocore would send."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.kinesis_wire import asked, reply
from vortex.adapters.aws.cbor import CONTENT_TYPE as CBOR
from vortex.adapters.kinesis.get_records import RecordsCall
from vortex.adapters.kinesis.stream import KinesisStream, open_kinesis_stream
from vortex.ports import Unavailable

SHARD = "shardId-000000000000"
ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/events"
EMPTY = {"Records": [], "MillisBehindLatest": 0, "NextShardIterator": "next"}


def answer(request: web.Request, document: dict[str, Any]) -> web.Response:
    """The reply in the encoding of the request."""
    kind, body = reply(request.headers["Content-Type"], document)
    return web.Response(body=body, headers={"Content-Type": kind})


class Wire:
    """Keeps the requests; gives each the same answer."""

    def __init__(self) -> None:
        self.came: list[tuple[str, Mapping[str, str], bytes]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.came.append((str(request.url), request.headers.copy(), await request.read()))
        return answer(request, EMPTY)

    @property
    def keys(self) -> list[str]:
        """The access key that signed each request."""
        return [headers["Authorization"].partition("Credential=")[2].partition("/")[0] for _, headers, _ in self.came]


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", wire.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        wire.url = str(server.make_url("/"))
        yield wire


async def read(url: str | None, times: int = 1, stream: str = "events") -> None:
    async with open_kinesis_stream(stream, "us-east-1", url) as opened:
        for number in range(times):
            await opened.read(SHARD, f"iterator-{number}")


async def test_get_records_sends_a_request_that_matches_its_signature(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature, computed again from the received request, is the same; so is every header that it covers."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    await read(wire.url, 2)
    assert [asked(CBOR, body)["ShardIterator"] for _, _, body in wire.came] == ["iterator-0", "iterator-1"]
    for url, headers, body in wire.came:
        assert headers["X-Amz-Target"] == "Kinesis_20131202.GetRecords"
        assert headers["Content-Type"] == CBOR
        assert headers["X-Amz-Security-Token"] == "token"
        assert headers["User-Agent"].startswith("vortex/")
        assert "amz-sdk-invocation-id" not in headers
        scope, signed, signature = headers["Authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(", ")
        assert scope.endswith("/us-east-1/kinesis/aws4_request")
        names = signed.removeprefix("SignedHeaders=").split(";")
        assert {"host", "content-type", "x-amz-date", "x-amz-security-token", "x-amz-target"} == set(names)
        at = datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda at=at: at)
        again = AWSRequest("POST", url, {name: headers[name] for name in names}, body)
        SigV4Auth(Credentials("test", "test", "token"), "kinesis", "us-east-1").add_auth(again)
        assert again.headers["Authorization"].endswith(signature)


async def test_get_records_is_unavailable_without_credentials(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message names all places that were searched; nothing is sent."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="no valid AWS credentials: environment, profile default") as caught:
        await read(wire.url)
    assert caught.value.cause == "credentials"
    assert wire.came == []


async def test_get_records_uses_the_proxy_of_the_environment(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every other call does."""
    monkeypatch.setenv("HTTP_PROXY", wire.url)
    await read("http://kinesis.example:4567")
    assert [url for url, _, _ in wire.came] == ["http://kinesis.example:4567/"]


@pytest.mark.parametrize(
    ("stream", "environment", "url"),
    [
        ("events", {}, "https://kinesis.eu-west-1.amazonaws.com/"),
        ("events", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://kinesis-fips.eu-west-1.amazonaws.com/"),
        ("events", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://kinesis.eu-west-1.api.aws/"),
        ("events", {"AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:1"}, "http://127.0.0.1:1/"),
        (ARN, {}, "https://123456789012.data-kinesis.eu-west-1.amazonaws.com/"),
    ],
)
async def test_get_records_uses_the_endpoint_that_botocore_resolves(
    monkeypatch: pytest.MonkeyPatch, stream: str, environment: dict[str, str], url: str
) -> None:
    """With an ARN, the endpoint of the account; nothing is sent to find it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with open_kinesis_stream(stream, "eu-west-1") as opened:
        assert calls_of(opened).url == url


def calls_of(stream: KinesisStream) -> RecordsCall:
    return stream._get_records


async def test_get_records_times_out_when_the_server_does_not_answer(silent: str) -> None:
    async with open_kinesis_stream("events", "us-east-1", silent, read_timeout_s=0.05) as opened:
        with pytest.raises(Unavailable) as problem:
            await opened.read(SHARD, "iterator")
    assert problem.value.cause == "timeout"


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that accepts connections and sends nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("status", [200, 500])
async def test_get_records_is_unavailable_when_the_reply_is_truncated(status: int) -> None:
    """It is never taken for a page or for the service's error."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(json.dumps(EMPTY).encode()[:40])
        assert request.transport is not None
        request.transport.close()
        return response

    app = web.Application()
    app.router.add_post("/", handle)
    async with TestServer(app, host="127.0.0.1") as server:
        with pytest.raises(Unavailable) as problem:
            await read(str(server.make_url("/")))
    assert problem.value.cause == "connection"


async def test_get_records_reuses_buffers_without_mixing_replies() -> None:
    """A long reply, then shorter ones, then several at once."""
    sizes = iter([5000, 10, 0, 200, 3000, 1])

    async def handle(request: web.Request) -> web.Response:
        count = next(sizes)
        row = {"SequenceNumber": "1", "ApproximateArrivalTimestamp": 1.0, "Data": "AAAA", "PartitionKey": "p"}
        return answer(request, {**EMPTY, "Records": [row] * count})

    app = web.Application()
    app.router.add_post("/", handle)
    async with (
        TestServer(app, host="127.0.0.1") as server,
        open_kinesis_stream("events", "us-east-1", str(server.make_url("/"))) as opened,
    ):
        alone = [len((await opened.read(SHARD, "iterator")).records) for _ in range(3)]
        several = await asyncio.gather(*(opened.read(SHARD, "iterator") for _ in range(3)))
        spare = len(calls_of(opened)._spare)
        opened.forget_buffers()
        left = len(calls_of(opened)._spare)
    assert alone == [5000, 10, 0]
    assert sorted(len(page.records) for page in several) == [1, 200, 3000]
    assert {record.data for page in several for record in page.records} == {b"\0\0\0"}
    assert 1 <= spare <= 3, "at most one per concurrent call"
    assert left == 0
