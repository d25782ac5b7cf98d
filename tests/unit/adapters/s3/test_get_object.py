"""GetObject is sent without botocore: signed as botocore would, and never a wrong answer."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import botocore.auth
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from vortex.adapters.s3.get_object import GetCall
from vortex.adapters.s3.store import open_s3_store
from vortex.ports import Denied, NotFound, PortError, Unavailable

KEY = "_vortex/streams/über ~+'()/000000000001.seg"
DATA = bytes(range(100))


class Wire:
    """Keeps the requests; answers with the given (status, code) pairs in turn, then with a part of DATA."""

    def __init__(self) -> None:
        self.came: list[tuple[str, Mapping[str, str]]] = []
        self.errors: list[tuple[int, str]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.came.append((request.raw_path, request.headers.copy()))
        status, code = self.errors.pop(0) if self.errors else (206, "")
        if code:
            return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")
        if "Range" not in request.headers:
            return web.Response(body=DATA, headers={"ETag": '"e"'})
        if not status:
            assert request.transport is not None
            request.transport.close()
        begin, end = {"bytes=-7": (93, 100), "bytes=0-": (0, 100)}.get(request.headers["Range"], (10, 15))
        headers = {"Content-Range": f"bytes {begin}-{end - 1}/{len(DATA)}"}
        return web.Response(status=206, body=DATA[begin:end], headers=headers)


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", wire.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        wire.url = str(server.make_url("/")).rstrip("/")
        yield wire


def store(wire: Wire, **options: Any) -> Any:
    return open_s3_store("s3://bucket/pre/fix", region="eu-west-1", endpoint_url=wire.url, **options)


async def test_get_range_sends_a_request_that_matches_its_signature(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature, computed again from the received request, is the same."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    async with store(wire, expected_bucket_owner="123") as opened:
        assert await opened.get_range(KEY, 10, 5) == DATA[10:15]
    ((path, headers),) = wire.came
    assert unquote(path) == f"/bucket/pre/fix/{KEY}"
    assert headers["Range"] == "bytes=10-14"
    assert headers["X-Amz-Expected-Bucket-Owner"] == "123"
    _, signed, signature = headers["Authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(", ")
    names = signed.removeprefix("SignedHeaders=").split(";")
    assert {"host", "range", "x-amz-content-sha256", "x-amz-security-token"} <= set(names)
    at = datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda at=at: at)
    again = AWSRequest("GET", wire.url + path, {name: headers[name] for name in names})
    S3SigV4Auth(Credentials("test", "test", "token"), "s3", "eu-west-1").add_auth(again)
    assert again.headers["Authorization"].endswith(signature)


async def test_get_tail_returns_the_size_of_the_object_in_one_call(wire: Wire) -> None:
    async with store(wire) as opened:
        assert await opened.get_tail(KEY, 7) == (DATA[-7:], len(DATA))
    assert len(wire.came) == 1


async def test_get_tail_raises_not_found_after_one_call_when_the_key_is_missing(wire: Wire) -> None:
    """Logs are read to their end again and again."""
    wire.errors = [(404, "NoSuchKey")]
    async with store(wire) as opened:
        with pytest.raises(NotFound, match="seg"):
            await opened.get_tail(KEY, 7)
    assert len(wire.came) == 1


@pytest.mark.parametrize(
    ("call", "key"),
    [
        ("get", KEY),
        ("get_range", KEY),
        ("put_if_absent", KEY),
        ("delete", KEY),
        ("list", "pre"),
    ],
)
async def test_errors_name_the_bucket_and_the_whole_key_and_the_region(wire: Wire, call: str, key: str) -> None:
    """So it can be found in a policy or in the bucket."""
    wire.errors = [(403, "AccessDenied")] * 2
    async with store(wire) as opened:
        with pytest.raises(Denied) as caught:
            await {
                "get": lambda: opened.get(key),
                "get_range": lambda: opened.get_range(key, 0, 1),
                "put_if_absent": lambda: opened.put_if_absent(key, b"x"),
                "delete": lambda: opened.delete([key]),
                "list": lambda: anext(opened.list(key)),
            }[call]()
    assert f"s3://bucket/pre/fix/{key} (region eu-west-1): AccessDenied" in str(caught.value)


async def test_not_found_names_the_whole_key(wire: Wire) -> None:
    """By the fast path and by botocore."""
    for call in ("get", "get_tail"):
        wire.errors = [(404, "NoSuchKey")]
        async with store(wire) as opened:
            with pytest.raises(NotFound, match=r"^s3://bucket/pre/fix/.* \(region eu-west-1\): NoSuchKey"):
                await (opened.get(KEY) if call == "get" else opened.get_tail(KEY, 1))


@pytest.mark.parametrize(
    ("status", "code", "error", "cause"),
    [
        (0, "", Unavailable, "connection"),
        (404, "Odd", Unavailable, "other"),
        (403, "AccessDenied", Denied, ""),
        (404, "NoSuchBucket", Denied, ""),
        (503, "SlowDown", Unavailable, "throttled"),
        (301, "Moved", Unavailable, "malformed"),
    ],
)
async def test_get_range_raises_the_port_error_of_the_reply_and_retries_only_lost_connections(
    wire: Wire, status: int, code: str, error: type[PortError], cause: str
) -> None:
    """The caller retries the others. A missing bucket is not a missing key."""
    wire.errors = [(status, code)] * 9
    retries: list[str] = []
    async with store(wire, on_retry=retries.append) as opened:
        with pytest.raises(error) as caught:
            await opened.get_range(KEY, 10, 5)
    assert getattr(caught.value, "cause", "") == cause
    assert retries == ([cause] * 2 if cause == "connection" else [])


async def test_get_tail_reads_the_whole_object_when_the_range_is_refused(wire: Wire) -> None:
    """A tail longer than the object is not an empty object."""
    wire.errors = [(416, "InvalidRange")]
    async with store(wire) as opened:
        assert await opened.get_range(KEY, 10, 5) == b"", "the range begins after the end of the object"
        wire.errors = [(416, "InvalidRange")]
        assert await opened.get_tail(KEY, 700) == (DATA, len(DATA))


@pytest.mark.parametrize("bucket", ["logs--use1-az4--x-s3", "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine"])
async def test_prepare_returns_none_for_directory_buckets_and_access_points(bucket: str) -> None:
    assert await GetCall.prepare(None, bucket, {}) is None


async def test_get_range_takes_hardly_more_memory_than_the_bytes() -> None:
    """Publishing reads up to 16 MiB in a call, several calls at a time."""
    size, piece = 32 * 2**20, bytes(2**18)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 206 Partial Content\r\nContent-Length: {size}\r\n"
        writer.write(f"{head}Content-Range: bytes 0-{size - 1}/{size + 1}\r\n\r\n".encode())
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, open_s3_store("s3://bucket", region="us-east-1", endpoint_url=url) as store:
        tracemalloc.start(1)
        try:
            body = await store.get_range("key", 0, size)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert body == bytes(size)
    assert peak < 1.1 * size
