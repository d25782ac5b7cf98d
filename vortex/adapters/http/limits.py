"""Limits for the clients of a server: connections, time, bytes. Independent of HTTP.

Each connection uses a file descriptor. The process has a limited number of them, and the AWS clients need them. So a
server keeps few connections and closes the oldest for a new one: a probe is answered within milliseconds, so an old
connection belongs to a slow or dead client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

MOST_CONNECTIONS = 32
LIFE_S = 10.0
"""From the connection to the last byte of the reply; Prometheus's default scrape time-out."""
MOST_BYTES = 16 * 1024
"""Maximum size of a request: one line, a few headers, no body."""


class Gate:
    """The open connections of one server, the oldest first."""

    def __init__(self, refusal: bytes) -> None:
        self.refusal = refusal
        """The reply to a client that sends too much."""
        self._open: dict[Guarded, asyncio.Transport] = {}

    def __len__(self) -> int:
        return len(self._open)

    def guarded(self, factory: Callable[[], asyncio.Protocol]) -> Callable[[], Guarded]:
        """A factory of protocols whose connections are limited."""
        return lambda: Guarded(factory(), self)

    def enter(self, one: Guarded, transport: asyncio.Transport) -> None:
        """Add a connection; close the oldest if there are too many."""
        while len(self._open) >= MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            self._open.pop(oldest).abort()
        self._open[one] = transport

    def leave(self, one: Guarded) -> None:
        """Remove a closed connection."""
        self._open.pop(one, None)


class Guarded(asyncio.Protocol):
    """A connection with limited duration and bytes; everything else is passed to `inner`."""

    def __init__(self, inner: asyncio.Protocol, gate: Gate) -> None:
        self._inner, self._gate, self._came = inner, gate, 0
        self._transport: asyncio.Transport | None = None
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the connection's time limit."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport has the same methods
        self._gate.enter(self, self._transport)
        self._end = asyncio.get_running_loop().call_later(LIFE_S, self._transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass received bytes on, up to the limit."""
        self._came += len(data)
        if self._came <= MOST_BYTES:
            self._inner.data_received(data)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._gate.refusal)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection and its timer."""
        self._gate.leave(self)
        if self._end is not None:
            self._end.cancel()
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """The client has sent everything."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._inner.resume_writing()
