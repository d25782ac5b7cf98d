"""The body of a reply, read by the kernel straight into memory of one's own.

aiohttp hands a body out in pieces, each of which is copied three times: into bytes by the event loop, into others by
the parser, and out of those by whoever puts the body together. For a megabyte that costs more than making records of
it (docs/performance.md). A body whose length was told needs no parser; so its connection's transport is given another
protocol (https://docs.python.org/3/library/asyncio-protocol.html#buffered-streaming-protocols) until it has come.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientConnectionError, ClientResponse

_MOST_BYTES = 64 * 2**20
"""A body that claims to be larger comes as it comes: no memory is taken because somebody says so."""


class _Rest(asyncio.BufferedProtocol):
    """Takes what is still missing of a body, and leaves the connection to aiohttp's protocol again."""

    def __init__(self, transport: asyncio.Transport, protocol: Any, memory: memoryview) -> None:
        self.whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.missing = memory
        self._transport, self._protocol = transport, protocol

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.missing  # never more than is missing: what comes after is not read

    def buffer_updated(self, nbytes: int) -> None:
        self.missing = self.missing[nbytes:]
        if not self.missing:
            self._transport.set_protocol(self._protocol)
            if not self.whole.done():
                self.whole.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        if not self.whole.done():
            self.whole.set_exception(ClientConnectionError(f"{len(self.missing)} bytes of the body are missing: {exc}"))

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


async def read_body(response: ClientResponse, buffer: bytearray, patience_s: float) -> int:
    """The body's size; its bytes are the first of `buffer`, which grows as it must. The connection is released.

    `patience_s`: for how long nothing may come. Raises TimeoutError, aiohttp.ClientError.
    """
    length, size = response.content_length, 0
    if length is None or length > _MOST_BYTES:
        async for chunk, _ in response.content.iter_chunks():
            size = _kept(chunk, buffer, size)
        return size
    while size < response.content.total_bytes:  # what came together with the headers
        size = _kept((await response.content.readchunk())[0], buffer, size)
    connection = response.connection
    if size == length or connection is None or connection.transport is None:
        async for chunk, _ in response.content.iter_chunks():  # its end, or what went wrong
            size = _kept(chunk, buffer, size)
        return size
    buffer.extend(bytes(max(0, length - len(buffer))))
    with memoryview(buffer) as memory, memory[size:length] as missing:
        transport = connection.transport
        rest = _Rest(transport, connection.protocol, missing)
        transport.set_protocol(rest)
        try:
            await _come(rest, patience_s)
        finally:
            rest.missing = memoryview(b"")  # whoever gave up gets the buffer back
            rest.whole.cancel()
    response.content.feed_eof()
    return length


async def _come(rest: _Rest, patience_s: float) -> None:
    while not rest.whole.done():
        before = len(rest.missing)
        await asyncio.wait([rest.whole], timeout=patience_s)
        if not rest.whole.done() and len(rest.missing) == before:
            raise TimeoutError(f"{before} bytes of the body did not come for {patience_s:g} s")
    rest.whole.result()


def _kept(chunk: bytes, buffer: bytearray, size: int) -> int:
    """The size with the chunk in its place."""
    end = size + len(chunk)
    buffer.extend(bytes(max(0, end - len(buffer))))
    with memoryview(buffer) as memory:  # a bytearray copies what is assigned to a slice of it twice
        memory[size:end] = chunk
    return end
