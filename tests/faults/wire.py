"""HTTP/1.1 on the wire, as far as a fault proxy needs it: requests and replies as values, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.kinesis_wire import asked, is_cbor, reply, said, written

READ_AHEAD = 64 * 1024
"""A body of at most this many bytes, sent without waiting, is read with its head."""

_S3 = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject", "POST": "PostObject"}


class Headers(list[tuple[str, str]]):
    """Headers in the order in which they came."""

    def value(self, name: str) -> str:
        """The first value of that name, or an empty string."""
        return next((text for key, text in self if key.lower() == name.lower()), "")

    def without(self, *names: str) -> Headers:
        """All but those of these names."""
        gone = {name.lower() for name in names}
        return Headers((key, text) for key, text in self if key.lower() not in gone)


@dataclass(slots=True)
class Request:
    """A request, and which call of which service it is, e.g. `kinesis`, `GetRecords`."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    service: str = ""
    call: str = ""


@dataclass(slots=True)
class Reply:
    """A reply. `body` is decoded, and tells the length: `headers` hold neither that nor a transfer encoding."""

    status: int
    reason: str = "OK"
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    version: str = "HTTP/1.1"

    def having(self, *extra: tuple[str, str], **changes: Any) -> Reply:
        """The same with other fields, and with headers that take the place of those of their names."""
        kept = changes.pop("headers", self.headers).without(*(name for name, _ in extra))
        return replace(self, headers=Headers([*kept, *extra]), **changes)

    def head(self, *extra: str) -> bytes:
        """Status line and headers, then `extra` lines, and the empty line."""
        lines = [f"{self.version} {self.status} {self.reason}".rstrip()]
        lines += [f"{name}: {text}" for name, text in self.headers]
        return "\r\n".join([*lines, *extra, "", ""]).encode("latin-1")


Origin = Callable[[Request], Awaitable[Reply]]
"""What answers in the end: a server, or a function."""


def called(method: str, target: str, headers: Headers, body: bytes) -> tuple[str, str]:
    """The service that a request is for, and the call.

    Credential endpoints are recognized by their paths: `/latest/` is that of IMDS, `/credentials` the container's.
    """
    parts = urlsplit(target)
    if amz := headers.value("x-amz-target"):
        service, _, call = amz.partition(".")
        return ("dynamodb" if service.startswith("DynamoDB") else "kinesis"), call
    if parts.path.startswith("/latest/api/token"):
        return "credentials", "ImdsToken"
    if parts.path.startswith("/latest/"):
        return "credentials", "ImdsRole" if parts.path.endswith("/") else "ImdsCredentials"
    if parts.path.startswith("/credentials"):
        return "credentials", "ContainerCredentials"
    if headers.value("content-type").startswith("application/x-www-form-urlencoded"):
        return "sts", parse_qs(body.decode("latin-1")).get("Action", ["Unknown"])[0]
    _, _, key = parts.path.strip("/").partition("/")
    query = parse_qs(parts.query, keep_blank_values=True)
    if method == "POST" and "delete" in query:
        return "s3", "DeleteObjects"
    if not key:
        buckets = {"GET": "ListObjectsV2", "PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}
        return "s3", buckets.get(method, "Unknown")
    return "s3", _S3.get(method, "Unknown")


async def read_head(reader: asyncio.StreamReader) -> tuple[str, Headers]:
    """The first line, and the headers. Raises asyncio.IncompleteReadError at the end of the connection."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:] if line)
    return lines[0], Headers((name.strip(), text.strip()) for name, _, text in pairs)


async def read_chunked(reader: asyncio.StreamReader) -> bytes:
    """A body in chunks, put together; trailers are dropped."""
    chunks = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return b"".join(chunks)


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    """A request's body."""
    if headers.value("transfer-encoding").lower() == "chunked":
        return await read_chunked(reader)
    return await reader.readexactly(int(headers.value("content-length") or 0))


def server(url: str) -> Origin:
    """The origin that a plain HTTP server is: one connection for each request."""
    where = urlsplit(url)

    async def ask(request: Request) -> Reply:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            headers = request.headers.without("expect", "transfer-encoding", "content-length", "connection")
            lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers)]
            lines += [f"Content-Length: {len(request.body)}", "Connection: close", "", ""]
            writer.write("\r\n".join(lines).encode("latin-1") + request.body)
            return await _read_reply(reader, request.method)
        finally:
            writer.close()

    return ask


async def _read_reply(reader: asyncio.StreamReader, method: str) -> Reply:
    status = 100
    while status < 200:
        line, headers = await read_head(reader)
        version, _, rest = line.partition(" ")
        code, _, reason = rest.partition(" ")
        status = int(code)
    if method == "HEAD" or status in (204, 304):
        return Reply(status, reason, headers.without("connection"), b"", version)
    if headers.value("transfer-encoding").lower() == "chunked":
        body = await read_chunked(reader)
    else:
        length = headers.value("content-length")
        body = await (reader.readexactly(int(length)) if length else reader.read())
    kept = headers.without("content-length", "transfer-encoding", "connection", "keep-alive")
    return Reply(status, reason, kept, body, "HTTP/1.1")


@dataclass(slots=True)
class Exchange:
    """One request of a client, and what a fault may do with it."""

    request: Request
    rng: Random
    hang_s: float
    """The length of a silence, in seconds."""
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    origin: Origin
    late: Callable[[Awaitable[Any]], None]
    """Schedules work for later, whatever happens to the connection."""
    unread: bool = True
    """Whether the request's body has not been read yet."""

    @property
    def wall_s(self) -> float:
        """Now, in epoch seconds."""
        return time.time()

    @property
    def expects(self) -> bool:
        """Whether the client waits for 100 Continue."""
        return self.unread and self.request.headers.value("expect").lower() == "100-continue"

    async def body(self, *, go_on: bool = True) -> None:
        """Read the request's body; where the client waits for it, say 100 Continue first, if `go_on`."""
        if self.unread:
            if self.expects and go_on:
                await self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.unread = False
            self.request.body = await read_body(self.reader, self.request.headers)

    async def forward(self) -> Reply:
        """Pass the request on; the origin's reply. The origin knows Kinesis in JSON only."""
        await self.body()
        kind, request = self.request.headers.value("content-type"), self.request
        if not is_cbor(kind):
            return await self.origin(request)
        json_kind, text = reply("", asked(kind, request.body))
        headers = Headers([*request.headers.without("content-type"), ("Content-Type", json_kind)])
        came = await self.origin(replace(request, headers=headers, body=text))
        try:
            return came.having(("Content-Type", kind), body=written(kind, json.loads(came.body)))
        except ValueError:
            return came

    async def send(self, reply: Reply) -> bool:
        """Send a whole reply. True: the connection can be used again."""
        if self.request.method == "HEAD" or reply.status in (204, 304):
            return await self.write(reply.head())
        return await self.write(reply.head(f"Content-Length: {len(reply.body)}") + reply.body)

    async def write(self, data: bytes) -> bool:
        """Send bytes unchanged."""
        self.writer.write(data)
        await self.writer.drain()
        return True

    async def trickle(self, pieces: Iterable[bytes], pause_s: float) -> bool:
        """Send bytes in pieces."""
        for piece in pieces:
            await self.write(piece)
            await asyncio.sleep(pause_s)
        return True

    def reset(self) -> bool:
        """End the connection by RST."""
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()
        return False

    async def hang(self) -> bool:
        """Send nothing until the client gives up, for at most `hang_s`; then close the connection."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(self.hang_s):
                while await self.reader.read(READ_AHEAD):
                    pass
        return False


def json_of(reply: Reply) -> dict[str, Any] | None:
    """What a reply with status 200 says, if it is an object of JSON, or the same in CBOR."""
    if reply.status != 200:
        return None
    try:
        document = said(reply.headers.value("content-type"), reply.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
