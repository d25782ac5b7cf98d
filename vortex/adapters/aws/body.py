"""The body of a reply, read by the kernel straight into memory of one's own.

aiohttp hands a body out in pieces, each of which is copied three times: into bytes by the event loop, into others by
the parser, and out of those by whoever puts the body together. For a megabyte that costs more than making records of
it (docs/decisions/0009). A body whose length was told needs no parser; so its connection's transport is given another
protocol (https://docs.python.org/3/library/asyncio-protocol.html#buffered-streaming-protocols) until it has come.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientConnectionError, ClientResponse

from vortex.adapters.aws.exchange import Malformed, current_call


class _Rest(asyncio.BufferedProtocol):
    """Takes what is still missing of a body, and leaves the connection to aiohttp's protocol again.

    `whole` ends with TimeoutError when nothing came for `patience_s`, with an aiohttp.ClientError when nothing will.
    """

    def __init__(self, transport: asyncio.Transport, protocol: Any, memory: memoryview, patience_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.whole: asyncio.Future[None] = self._loop.create_future()
        self._missing, self._looked_at, self._patience_s = memory, len(memory), patience_s
        self._transport, self._protocol, self._call = transport, protocol, current_call()
        self._timer = self._loop.call_later(patience_s, self._look)
        transport.set_protocol(self)

    def give_up(self) -> None:
        """Nothing more is written to the memory."""
        self._missing = memoryview(b"")
        self._timer.cancel()
        self.whole.cancel()

    def _look(self) -> None:
        missing = len(self._missing)
        if missing < self._looked_at:
            self._call.moved(self._looked_at - missing)
            self._looked_at, self._timer = missing, self._loop.call_later(self._patience_s, self._look)
        elif not self.whole.done():
            told = f"{missing} bytes of the body did not come for {self._patience_s:g} s"
            self.whole.set_exception(TimeoutError(told))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._missing  # never more than is missing: what comes after is not read

    def buffer_updated(self, nbytes: int) -> None:
        self._missing = self._missing[nbytes:]
        if not self._missing:
            self._transport.set_protocol(self._protocol)
            if not self.whole.done():
                self.whole.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        if not self.whole.done():
            told = f"{len(self._missing)} bytes of the body are missing: {exc}"
            self.whole.set_exception(ClientConnectionError(told))

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


async def read_body(response: ClientResponse, buffer: bytearray, patience_s: float) -> int:
    """The body's size; its bytes are the first of `buffer`, which grows as it must. The connection is released.

    `patience_s`: for how long nothing may come. Raises TimeoutError, aiohttp.ClientError, Malformed (a body larger than
    its call may have).
    """
    length, size, call = response.content_length, 0, current_call()
    if length is None:
        async for chunk, _ in response.content.iter_chunks():
            call.moved(len(chunk))
            if size + len(chunk) > call.most_bytes:
                raise Malformed(f"a body of more than {call.most_bytes} bytes")
            size = _kept(chunk, buffer, size)
        return size
    if length > call.most_bytes:  # no memory is taken because somebody says so
        raise Malformed(f"a body of {length} bytes")
    while size < response.content.total_bytes:  # what came together with the headers
        size = _kept((await response.content.readchunk())[0], buffer, size)
    connection = response.connection
    if size == length or connection is None or connection.transport is None:
        async for chunk, _ in response.content.iter_chunks():  # its end, or what went wrong
            size = _kept(chunk, buffer, size)
        return size
    buffer.extend(bytes(max(0, length - len(buffer))))
    with memoryview(buffer) as memory, memory[size:length] as missing:
        rest = _Rest(connection.transport, connection.protocol, missing, patience_s)
        try:
            await rest.whole
        finally:
            rest.give_up()
    response.content.feed_eof()
    return length


def _kept(chunk: bytes, buffer: bytearray, size: int) -> int:
    """The size with the chunk in its place."""
    end = size + len(chunk)
    buffer.extend(bytes(max(0, end - len(buffer))))
    with memoryview(buffer) as memory:  # a bytearray copies what is assigned to a slice of it twice
        memory[size:end] = chunk
    return end
