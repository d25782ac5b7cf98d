"""PutObject is sent without botocore: the request must be the one that botocore would send."""

from __future__ import annotations

import base64
import zlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from unittest.mock import AsyncMock, Mock
from urllib.parse import unquote

import botocore.auth
import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode

from vortex.adapters.aws.exchange import HttpSession
from vortex.adapters.s3.put_object import PutCall, escaped
from vortex.adapters.s3.store import open_s3_store
from vortex.ports import Denied, PortError, Unavailable

ODD_KEY = "customer=a%2Fb/event_type=über ~+'()/date=2026-01-01/0000-000.json.gz"


class Wire:
    """Keeps the requests; answers with the given statuses in turn, then with 200. Status 0 closes the connection."""

    def __init__(self) -> None:
        self.came: list[tuple[str, Mapping[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.came.append((request.raw_path, request.headers.copy(), await request.read()))
        status = self.statuses.pop(0) if self.statuses else 200
        if not status:
            assert request.transport is not None
            request.transport.close()
        code = {412: "PreconditionFailed", 403: "AccessDenied", 503: "SlowDown"}.get(status, "Odd")
        if status >= 300:
            return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")
        return web.Response(headers={"ETag": '"e"'})


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    app = web.Application(client_max_size=2**25)
    app.router.add_route("*", "/{path:.*}", wire.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        wire.url = str(server.make_url("/")).rstrip("/")
        yield wire


def store(wire: Wire, **options: Any) -> Any:
    return open_s3_store("s3://bucket/pre/fix", region="eu-west-1", endpoint_url=wire.url, **options)


@pytest.mark.parametrize("size", [0, 5, 2**20 + 1, 2**24 + 1])
async def test_put_sends_a_request_that_matches_its_signature(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The signature, computed again from the received request, is the same; so are the checksums of the body."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with store(wire, server_side_encryption="aws:kms", kms_key_id="k", expected_bucket_owner="123") as opened:
        assert await opened.put_if_absent(ODD_KEY, body, "application/x-ndjson")
    ((path, headers, arrived),) = wire.came
    assert arrived == body
    assert unquote(path) == f"/bucket/pre/fix/{ODD_KEY}"
    assert headers["If-None-Match"] == "*"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["X-Amz-Server-Side-Encryption"] == "aws:kms"
    assert headers["X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"] == "k"
    assert headers["X-Amz-Expected-Bucket-Owner"] == "123"
    assert headers["X-Amz-Security-Token"] == "token"
    assert base64.b64decode(headers["X-Amz-Checksum-Crc32"]) == zlib.crc32(body).to_bytes(4, "big")
    assert headers["X-Amz-Content-Sha256"] == sha256(body).hexdigest()
    assert headers.get("Expect") == ("100-continue" if size >= 2**20 else None)
    _, signed, signature = headers["Authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(", ")
    names = signed.removeprefix("SignedHeaders=").split(";")
    assert {"host", "content-type", "if-none-match", "x-amz-checksum-crc32", "x-amz-content-sha256"} <= set(names)
    at = datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda at=at: at)
    again = AWSRequest("PUT", wire.url + path, {name: headers[name] for name in names}, body)
    S3SigV4Auth(Credentials("test", "test", "token"), "s3", "eu-west-1").add_auth(again)
    assert again.headers["Authorization"].endswith(signature)


async def test_put_is_unavailable_after_an_unexpected_error(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends this call, not the worker: the caller may retry."""
    monkeypatch.setattr(ClientSession, "request", AsyncMock(side_effect=RuntimeError("unexpected")))
    async with store(wire) as opened:
        with pytest.raises(Unavailable, match="unexpected"):
            await opened.put_if_absent("key", b"body")


async def test_put_uses_the_proxy_of_the_environment(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """As any client of AWS does."""
    monkeypatch.setenv("HTTP_PROXY", wire.url)
    async with open_s3_store("s3://bucket", region="eu-west-1", endpoint_url="http://store.invalid") as opened:
        assert await opened.put_if_absent("key", b"body")
    ((path, headers, body),) = wire.came
    assert (path, headers["Host"], body) == ("http://store.invalid/bucket/key", "store.invalid", b"body")


async def test_put_sends_no_checksum_when_it_is_turned_off(wire: Wire) -> None:
    """Some stores do not know checksums."""
    async with store(wire, request_checksum_calculation="when_required") as opened:
        assert await opened.put_if_absent("key", b"body")
    ((_, headers, _),) = wire.came
    assert not [name for name in headers if "checksum" in name.lower()]


async def test_put_returns_false_after_one_call_when_the_key_exists(wire: Wire) -> None:
    wire.statuses = [412]
    async with store(wire) as opened:
        assert not await opened.put_if_absent("key", b"body")
    assert len(wire.came) == 1


@pytest.mark.parametrize(
    ("status", "error", "cause"),
    [
        (0, Unavailable, "connection"),
        (301, Unavailable, "malformed"),
        (400, Unavailable, "other"),
        (403, Denied, ""),
        (409, Unavailable, "conflict"),
        (500, Unavailable, "server"),
        (503, Unavailable, "throttled"),
    ],
)
async def test_put_raises_the_port_error_of_the_reply_and_retries_server_and_connection_errors(
    wire: Wire, status: int, error: type[PortError], cause: str
) -> None:
    """The caller retries the others."""
    wire.statuses = [status] * 9
    retries: list[str] = []
    async with store(wire, on_retry=retries.append) as opened:
        with pytest.raises(error) as caught:
            await opened.put_if_absent("key", b"body")
    assert getattr(caught.value, "cause", "") == cause
    assert {body for _, _, body in wire.came} == {b"body"}
    assert retries == ([cause] * 2 if cause in ("server", "connection") else [])


@pytest.mark.parametrize(
    ("checksum", "sum_of_body"), [(True, "UNSIGNED-PAYLOAD"), (False, sha256(b"body").hexdigest())]
)
async def test_put_signs_the_payload_over_tls_only_without_a_checksum(
    monkeypatch: pytest.MonkeyPatch, checksum: bool, sum_of_body: str
) -> None:
    """As botocore does."""
    sent = []

    async def exchange(_: HttpSession, method: str, url: str, headers: Any, body: bytes) -> Mock:
        sent.append((url, headers))
        return Mock(status=200, read=AsyncMock(return_value=b""), headers={"ETag": '"e"'})

    monkeypatch.setattr(HttpSession, "exchange", exchange)
    calculation: Any = "when_supported" if checksum else "when_required"
    async with open_s3_store("s3://bucket", region="eu-west-1", request_checksum_calculation=calculation) as opened:
        assert await opened.put_if_absent("a b", b"body")
    ((url, headers),) = sent
    assert url == "https://bucket.s3.eu-west-1.amazonaws.com/a%20b"
    assert headers["X-Amz-Content-SHA256"] == sum_of_body


@pytest.mark.parametrize("bucket", ["logs--use1-az4--x-s3", "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine"])
async def test_prepare_returns_none_for_directory_buckets_and_access_points(bucket: str) -> None:
    """They need sessions, or their names are resolved. Nothing is asked of the client."""
    assert await PutCall.prepare(None, bucket, {}, checksum=True) is None


def test_escaped_writes_keys_as_botocore_does() -> None:
    """Every character of ASCII, letters beyond it, and no lone surrogate."""
    for key in ("".join(map(chr, range(128))), ODD_KEY, "customer=naïve/日本", ""):
        assert escaped(key) == percent_encode(key, safe="/-._~")
    with pytest.raises(UnicodeEncodeError):
        escaped("\ud800")
