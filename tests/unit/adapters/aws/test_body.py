"""Response bodies read straight into memory: every byte arrives, connections are reused, failures are errors."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from vortex.adapters.aws import body
from vortex.adapters.aws.body import read_body
from vortex.adapters.aws.exchange import Call, _Reply, whole

SIZES = [0, 1, 5000, 200_000, 3_000_000, 12_345_678, 17]
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
Loop = Callable[[], asyncio.AbstractEventLoop]
Story = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class Server:
    """Answers each request with the next of `bodies`, in pieces; `short` bytes are missing, and then it may hang."""

    bodies: list[bytes]
    piece: int = 100_000
    chunked: bool = False
    short: int = 0
    hang: bool = False
    connections: int = 0
    stalled: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                whole = self.bodies.pop(0)
                length = b"Transfer-Encoding: chunked" if self.chunked else b"Content-Length: %d" % len(whole)
                writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n")
                for at in range(0, len(whole) - self.short, self.piece):
                    part = whole[at : min(at + self.piece, len(whole) - self.short)]
                    writer.write(b"%x\r\n%b\r\n" % (len(part), part) if self.chunked else part)
                    await writer.drain()
                if self.chunked:
                    writer.write(b"0\r\n\r\n")
                if self.short and not self.hang:
                    return
                if self.hang:
                    self.stalled.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def asking(
    server: Server, at_server: ssl.SSLContext | None = None, at_client: ssl.SSLContext | bool = True
) -> AsyncIterator[Callable[[], Coroutine[Any, Any, aiohttp.ClientResponse]]]:
    """The server, and a function that requests its next body."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=at_server)
    url = f"http{'s' if at_server else ''}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    async with (
        listening,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=at_client), response_class=_Reply) as session,
    ):
        yield lambda: session.get(url)  # type: ignore[arg-type,return-value]  # may be awaited, if no coroutine


def run(loop: Loop, story: Story) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story())


def bodies() -> list[bytes]:
    return [Random(size).randbytes(size) for size in SIZES]


def certified(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server with its own certificate, and of a client that trusts it."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = made.add_extension(address, critical=False).sign(key, hashes.SHA256())
    text = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(secret + text)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=text.decode())


async def all_arrive(server: Server, *tls: Any) -> None:
    async with asking(server, *tls) as ask:
        buffer = bytearray(10)
        for wanted in bodies():
            response = await ask()
            assert await read_body(response, buffer, 30) == len(wanted)
            assert buffer[: len(wanted)] == wanted
            response.close()
    assert server.connections == 1


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("piece", [1_000, 100_000, 2**24])
@pytest.mark.parametrize("chunked", [False, True])
def test_read_body_reads_every_byte_and_keeps_the_connection(loop: Loop, piece: int, chunked: bool) -> None:
    """Small and large bodies, one after the other, over one connection and into one buffer."""
    run(loop, lambda: all_arrive(Server(bodies(), piece, chunked)))


@pytest.mark.parametrize("loop", LOOPS)
def test_read_body_reads_every_byte_over_tls(loop: Loop, tmp_path: Path) -> None:
    """The transport then decrypts."""
    run(loop, lambda: all_arrive(Server(bodies()), *certified(tmp_path)))


def test_read_body_reads_large_bodies_on_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake here would only cost time, and no other test would fail."""
    sizes = []

    class Seen(body._Rest):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            sizes.append(len(self._missing))

    monkeypatch.setattr(body, "_Rest", Seen)
    run(uvloop.new_event_loop, lambda: all_arrive(Server(bodies())))
    assert sum(sizes) > sum(SIZES) * 0.9


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("short", [1, 1_500_000, 2_999_999, 3_000_000])
def test_read_body_raises_an_error_when_the_connection_closes_early(loop: Loop, short: int) -> None:
    """The next request gets a new connection."""

    async def story() -> None:
        server = Server([bytes(3_000_000), b"next"], short=short)
        async with asking(server) as ask:
            response = await ask()
            with pytest.raises(aiohttp.ClientError):
                await read_body(response, bytearray(), 30)
            response.close()
            await arrives_over_a_new_connection(server, ask)

    run(loop, story)


@pytest.mark.parametrize("loop", LOOPS)
def test_read_body_raises_timeout_when_the_body_stalls(loop: Loop) -> None:
    """The buffer is released, and the connection is not used again."""

    async def story() -> None:
        server = Server([bytes(3_000_000), b"next"], short=5, hang=True)
        async with asking(server) as ask:
            response, buffer = await ask(), bytearray()
            with pytest.raises(TimeoutError, match="5 bytes"):
                await read_body(response, buffer, 0.2)
            buffer.clear()
            response.close()
            await arrives_over_a_new_connection(server, ask)

    run(loop, story)


@pytest.mark.parametrize("loop", LOOPS)
def test_read_body_closes_the_connection_when_it_is_cancelled(loop: Loop) -> None:
    """In the middle of a body."""

    async def story() -> None:
        server = Server([bytes(3_000_000), b"next"], short=5, hang=True)
        async with asking(server) as ask:
            response, buffer = await ask(), bytearray()
            reading = asyncio.ensure_future(read_body(response, buffer, 30))
            await server.stalled.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            buffer.clear()
            response.close()
            await arrives_over_a_new_connection(server, ask)

    run(loop, story)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("fast", [True, False])
def test_large_replies_are_in_memory_one_at_a_time(chunked: bool, fast: bool) -> None:
    """Many small ones at once. The deadline of a call that waits for its turn begins after that."""
    sizes = [6_000_000, 500_000, 5_000_000, 700_000, 7_000_000] * 2
    held, most = Counter[int](), list[int]()

    async def call(number: int, ask: Any) -> None:
        async with Call(1, most_bytes=8_000_000, usual_bytes=1_000_000):
            response, buffer = await ask(), bytearray()
            size = await read_body(response, buffer, 30) if fast else len((await whole(response)).body)
            response.close()
            held[number] = size
            most.append(sum(size for size in held.values() if size > 1_000_000))
            await asyncio.sleep(0.3)  # as decoding would; several in a row exceed the deadline
            held[number] = 0

    async def story() -> None:
        async with asking(Server([bytes(size) for size in sizes], chunked=chunked)) as ask:
            begun = time.monotonic()
            await asyncio.gather(*(call(number, ask) for number in range(len(sizes))))
            assert time.monotonic() - begun > 1.5

    run(uvloop.new_event_loop, story)
    assert max(most) == 7_000_000


async def arrives_over_a_new_connection(server: Server, ask: Any) -> None:
    """The next body."""
    server.short, server.hang = 0, False
    assert await read_body(await ask(), bytearray(), 30) == 4
    assert server.connections == 2
