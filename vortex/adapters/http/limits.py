"""Bounds for what strangers may take of a server: connections, time, bytes. Nothing in here knows HTTP.

Sockets are files, and a process has a limited number of them, which the AWS clients need. So a server keeps few
connections, and the oldest makes room for a new one: a probe is answered within milliseconds, whoever sits there for
long is slow, or dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

MOST_CONNECTIONS = 32
LIFE_S = 10.0
"""From the connection to the last byte of the reply: what Prometheus waits for a scrape unless told otherwise."""
MOST_BYTES = 16 * 1024
"""A request has a line and a few headers, and no body."""


class Gate:
    """The open connections of one server, the oldest first."""

    def __init__(self, refusal: bytes) -> None:
        self.refusal = refusal
        """What who sends too much is told."""
        self._open: dict[Guarded, asyncio.Transport] = {}

    def __len__(self) -> int:
        return len(self._open)

    def guarded(self, factory: Callable[[], asyncio.Protocol]) -> Callable[[], Guarded]:
        """A factory of protocols whose connections are bounded."""
        return lambda: Guarded(factory(), self)

    def enter(self, one: Guarded, transport: asyncio.Transport) -> None:
        """A connection more, perhaps in place of the oldest."""
        while len(self._open) >= MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            self._open.pop(oldest).abort()
        self._open[one] = transport

    def leave(self, one: Guarded) -> None:
        """It is closed."""
        self._open.pop(one, None)


class Guarded(asyncio.Protocol):
    """A connection whose life and whose bytes are limited; all else is `inner`'s."""

    def __init__(self, inner: asyncio.Protocol, gate: Gate) -> None:
        self._inner, self._gate, self._came = inner, gate, 0
        self._transport: asyncio.Transport | None = None
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin its life."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._gate.enter(self, self._transport)
        self._end = asyncio.get_running_loop().call_later(LIFE_S, self._transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, up to the limit."""
        self._came += len(data)
        if self._came <= MOST_BYTES:
            self._inner.data_received(data)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._gate.refusal)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End its life."""
        self._gate.leave(self)
        if self._end is not None:
            self._end.cancel()
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """Nothing more will come."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """The reader is slow."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It goes on."""
        self._inner.resume_writing()
