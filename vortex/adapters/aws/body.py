"""Reads the body of a reply from the socket straight into a buffer of this package.

aiohttp delivers a body in chunks and copies each three times: the event loop into bytes, the parser into other bytes,
and the caller into one body. For a megabyte that costs more than decoding the records (docs/decisions/0009). A body of
known length needs no parser. So its connection's transport gets another protocol until the body is complete
(https://docs.python.org/3/library/asyncio-protocol.html#buffered-streaming-protocols).
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientConnectionError, ClientResponse

from vortex.adapters.aws.exchange import Malformed, current_call


class _Rest(asyncio.BufferedProtocol):
    """Receives the missing bytes of a body, then gives the connection back to aiohttp's protocol.

    `whole` ends with TimeoutError if nothing arrives for `patience_s`, or aiohttp.ClientError if the connection closes.
    """

    def __init__(self, transport: asyncio.Transport, protocol: Any, memory: memoryview, patience_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.whole: asyncio.Future[None] = self._loop.create_future()
        self._missing, self._looked_at, self._patience_s = memory, len(memory), patience_s
        self._transport, self._protocol, self._call = transport, protocol, current_call()
        self._timer = self._loop.call_later(patience_s, self._look)
        transport.set_protocol(self)

    def give_up(self) -> None:
        """Stop: write nothing more to the memory."""
        self._missing = memoryview(b"")
        self._timer.cancel()
        self.whole.cancel()

    def _look(self) -> None:
        missing = len(self._missing)
        if missing < self._looked_at:
            self._call.moved(self._looked_at - missing)
            self._looked_at, self._timer = missing, self._loop.call_later(self._patience_s, self._look)
        elif not self.whole.done():
            message = f"{missing} bytes of the body are missing; nothing arrived for {self._patience_s:g} s"
            self.whole.set_exception(TimeoutError(message))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._missing  # never more than is missing: bytes after the body belong to aiohttp's protocol

    def buffer_updated(self, nbytes: int) -> None:
        self._missing = self._missing[nbytes:]
        if not self._missing:
            self._transport.set_protocol(self._protocol)
            if not self.whole.done():
                self.whole.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        if not self.whole.done():
            message = f"{len(self._missing)} bytes of the body are missing: {exc}"
            self.whole.set_exception(ClientConnectionError(message))

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


async def read_body(response: ClientResponse, buffer: bytearray, patience_s: float) -> int:
    """Read the body into `buffer` and return its size. `buffer` grows as needed; the connection is released.

    `patience_s`: the longest time without a new byte. Raises TimeoutError, aiohttp.ClientError, and Malformed for a
    body larger than the limit of its call.
    """
    length, size, call = response.content_length, 0, current_call()
    if length is None:
        async for chunk, _ in response.content.iter_chunks():
            call.moved(len(chunk))
            if size + len(chunk) > call.most_bytes:
                raise Malformed(f"a body of more than {call.most_bytes} bytes")
            await call.room(size + len(chunk))
            size = _kept(chunk, buffer, size)
        return size
    if length > call.most_bytes:  # allocate nothing for a length that the call does not allow
        raise Malformed(f"a body of {length} bytes")
    await call.room(length)
    while size < response.content.total_bytes:  # the part that arrived together with the headers
        size = _kept((await response.content.readchunk())[0], buffer, size)
    connection = response.connection
    if size == length or connection is None or connection.transport is None:
        async for chunk, _ in response.content.iter_chunks():  # its end, or the error
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
    """Copy the chunk to `buffer` at `size` and return the new size."""
    end = size + len(chunk)
    buffer.extend(bytes(max(0, end - len(buffer))))
    with memoryview(buffer) as memory:  # assigning to a slice of a bytearray copies twice
        memory[size:end] = chunk
    return end
