"""A minimal HTTP/1.1 server that AWS clients accept: keep-alive, Content-Length, 100-continue; only on 127.0.0.1.

It takes little CPU, so that a benchmark measures the client. A handler is a plain function.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from time import time
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

import uvloop

HOST = "127.0.0.1"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Request:
    """`path` is decoded; header names are lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Reply:
    """`body` is sent in pieces, as they are; an answer to HEAD sends only its length."""

    status: int = 200
    body: tuple[bytes | memoryview, ...] = ()
    content_type: str = "application/xml"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Reply]


class _Connection(asyncio.Protocol):
    """One client: requests are answered in order, each as soon as it is whole."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._buffer = bytearray()
        self._head: tuple[Request, int | None] | None = None
        """What is to be answered, and the length of its body; None for a body in chunks."""
        self._needed = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= self._needed and self._step():
            pass

    def _step(self) -> bool:
        """Take a head, or a body; False where more bytes have to come first."""
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            request = parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            chunked = request.headers.get("transfer-encoding", "").lower() == "chunked"
            length = None if chunked else int(request.headers.get("content-length", 0))
            if length != 0 and request.headers.get("expect", "").lower() == "100-continue":
                self._transport.write(_CONTINUE)
            self._head, self._needed = (request, length), length or 0
            return len(self._buffer) >= self._needed
        request, length = self._head
        if length is None:
            body, taken = unchunked(self._buffer)
            if not taken:
                return False
        else:
            body, taken = bytes(self._buffer[:length]), length
        self._head, self._needed, request.body = None, 0, body
        del self._buffer[:taken]
        self._send(request, self._handle(request))
        return bool(self._buffer)

    def _send(self, request: Request, reply: Reply) -> None:
        length = sum(map(len, reply.body))
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        head = (
            f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\nContent-Type: {reply.content_type}\r\n"
            f"Content-Length: {length}\r\nDate: {_date()}\r\nx-amzn-RequestId: 0\r\n{extra}\r\n"
        )
        body = () if request.method == "HEAD" else reply.body
        self._transport.writelines((head.encode("latin-1"), *body))


def unchunked(data: bytes | bytearray) -> tuple[bytes, int]:
    """A body in chunks (RFC 9112 7.1), and the bytes that it took with its trailers; these are 0 until it is whole."""
    parts: list[bytes | bytearray] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end].partition(b";")[0], 16)
        if not size:
            break
        parts.append(data[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    while end >= 0:
        at, end = end + 2, data.find(b"\r\n", end + 2)
        if at == end:
            return b"".join(parts), end + 2
    return b"", 0


def parse_head(head: bytes) -> Request:
    """Request line and headers; the body is still to come."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    path, _, query = target.partition("?")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, unquote(path), dict(parse_qsl(query, keep_blank_values=True)), headers, b"")


_dated: tuple[int, str] = (0, "")


def _date() -> str:
    global _dated
    now = int(time())
    if _dated[0] != now:
        _dated = (now, formatdate(now, usegmt=True))
    return _dated[1]


def serve(handle: Handler, facts: dict[str, Any]) -> None:
    """Answer on a free port, as `run` does."""

    async def listen() -> int:
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(handle), HOST, 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    run(listen, facts)


def run(listen: Callable[[], Awaitable[int]], facts: dict[str, Any]) -> None:
    """Listen until SIGTERM, or until stdin ends: no server outlives its parent process.

    One line of JSON on stdout, `facts` with the port, says that it is ready.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(listen, facts))


async def _run(listen: Callable[[], Awaitable[int]], facts: dict[str, Any]) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    port = await listen()

    def watch() -> None:
        while os.read(
            sys.stdin.fileno(), 65_536
        ):  # not by the buffer, whose lock would fail the end of the interpreter
            pass
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch, daemon=True).start()
    print(json.dumps({**facts, "port": port}), flush=True)
    await ended.wait()
