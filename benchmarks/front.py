"""A front for a server on plain HTTP: it ends TLS, adds a round-trip time, and limits the rate. A process of its own.

So the client pays for TLS and the server does not, and the work of encryption is in neither's CPU time. The order of
ciphers is that of AWS's load balancers, AES-128-GCM first
(https://docs.aws.amazon.com/elasticloadbalancing/latest/network/describe-ssl-policies.html).

    python -m benchmarks.front --to 8080 --certificate server.pem --rtt-ms 20 --rate 12500000
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmarks.http_server import HOST, run

CIPHERS = """\
openssl_conf = front
[front]
ssl_conf = contexts
[contexts]
system_default = each
[each]
Ciphersuites = TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384
"""
"""A configuration of OpenSSL. Python's `ssl` has no function for the ciphers of TLS 1.3."""
_MOST_WAITING = 4 * 2**20
"""Bytes of one direction of a connection that wait here; then the sender waits."""


@dataclass(slots=True)
class Link:
    """One direction of a line that all connections share: `rate` in bytes a second, 0 for no limit."""

    delay_s: float = 0.0
    rate: float = 0.0
    _free_at: float = 0.0

    def arrives_at(self, now: float, size: int) -> float:
        """When the last of `size` bytes, sent now, arrives."""
        self._free_at = max(self._free_at, now) + (size / self.rate if self.rate else 0.0)
        return self._free_at + self.delay_s


class _End(asyncio.Protocol):
    """One end of a relayed connection. What it receives arrives at `other` by the link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._size, self._full, self._stopped = 0, False, False
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._send(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._send(b"")  # the end also arrives later

    def pause_writing(self) -> None:
        assert self.other is not None
        self.other._control(full=True)

    def resume_writing(self) -> None:
        assert self.other is not None
        self.other._control(full=False)

    def _send(self, data: bytes) -> None:
        now = self._loop.time()
        when = self._link.arrives_at(now, len(data))
        self._under_way.append((when, data))
        self._size += len(data)
        if when > now:
            self._loop.call_at(when, self._arrive)
            self._control()
        else:
            self._arrive()

    def _arrive(self) -> None:
        """Write what has arrived, as soon as the other end is connected."""
        target = None if self.other is None else self.other.transport
        now = self._loop.time() + 0.001  # the resolution of timers
        while target is not None and self._under_way and self._under_way[0][0] <= now:
            _, data = self._under_way.popleft()
            self._size -= len(data)
            if not data:
                target.close()
            elif not target.is_closing():
                target.write(data)
        self._control()

    def _control(self, *, full: bool | None = None) -> None:
        """`full`: whether the other end takes no more."""
        self._full = self._full if full is None else full
        stop = self._full or self._size > _MOST_WAITING
        if stop != self._stopped and self.transport is not None and not self.transport.is_closing():
            self._stopped = stop
            if stop:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()


class _Accepted(_End):
    """The client's end: it connects to the server."""

    def __init__(self, to: int, request: Link, reply: Link) -> None:
        super().__init__(request)
        self._to, self._reply = to, reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        end = _End(self._reply)
        end.other = self
        try:
            await self._loop.create_connection(lambda: end, HOST, self._to)
        except OSError:
            assert self.transport is not None
            self.transport.abort()
            return
        self.other = end
        self._arrive()


async def relay(to: int, request: Link, reply: Link, context: ssl.SSLContext | None = None) -> int:
    """Relay connections to the port `to`, until the loop ends. The port that listens."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Accepted(to, request, reply), HOST, 0, ssl=context)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def front(to: int, certificate: Path | None, rtt_s: float, rate: float) -> int:
    """The port of the front. The line is in front of TLS: handshakes take round trips, too."""
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        to = await relay(to, Link(), Link(), context)
    if rtt_s or rate or certificate is None:
        to = await relay(to, Link(rtt_s / 2, rate), Link(rtt_s / 2, rate))
    return to


def main() -> None:
    """Say that it is ready, and relay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=int, required=True, help="port of the server")
    parser.add_argument("--certificate", type=Path, help="PEM file of certificate and key; without it, plain TCP")
    parser.add_argument("--rtt-ms", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second in each direction")
    chosen = parser.parse_args()
    run(lambda: front(chosen.to, chosen.certificate, chosen.rtt_ms / 1000, chosen.rate), {})


if __name__ == "__main__":
    main()
