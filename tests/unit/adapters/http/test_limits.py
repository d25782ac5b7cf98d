"""Limits of the HTTP endpoint: few connections, little time, few bytes, and no log lines."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest
import uvloop

from vortex.adapters.http import limits as gate
from vortex.adapters.http.limits import MOST_BYTES, MOST_CONNECTIONS
from vortex.adapters.http.server import Check, serve

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine in the loop of tests, and in that of the service."""

    def run_it(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(main, 30))

    return run_it


@contextlib.asynccontextmanager
async def server(page_s: float = 0.0) -> AsyncIterator[tuple[str, int]]:
    """The endpoint; a page of metrics takes `page_s` and has 10 MiB."""

    async def page() -> bytes:
        await asyncio.sleep(page_s)
        return b"x" * 10 * 2**20

    async def ready() -> Sequence[Check]:
        return [("store", True, "")]

    async with serve("127.0.0.1", 0, page, ready) as address:
        yield address


async def ask(address: tuple[str, int], data: bytes) -> bytes:
    """Everything that is answered until the server closes."""
    reader, writer = await asyncio.open_connection(*address)
    with contextlib.closing(writer):
        writer.write(data)
        return await reader.read()


async def ended(connection: Connection) -> bool:
    """Whether the server has closed a connection."""
    try:
        return await asyncio.wait_for(connection[0].read(), 0.05) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_slow_clients_are_limited_in_number_and_do_not_block_probes(run: Run) -> None:
    """254 of them once took every file descriptor, so that no call to AWS was possible."""

    async def scenario() -> None:
        async with server() as address:
            slow = []
            for number in range(200):
                slow.append(await asyncio.open_connection(*address))
                slow[-1][1].write(b"GET /livez HTTP/1.1\r\nX-Slow: ")
                if number % 50 == 0:
                    assert (await ask(address, LIVEZ)).startswith(b"HTTP/1.1 200 OK")
            assert (await ask(address, LIVEZ)).startswith(b"HTTP/1.1 200 OK")
            await asyncio.sleep(0.1)
            over = await asyncio.gather(*map(ended, slow))
            assert over.count(False) < MOST_CONNECTIONS
            assert over == sorted(over, reverse=True), "the oldest are closed first"
            for _, writer in slow:
                writer.close()

    run(scenario())


@pytest.mark.parametrize("sent", [b"", b"GET /li", LIVEZ[:-2], b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_connection_is_closed_after_its_maximum_life(run: Run, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing arrives, half a request arrives, or the client does not read the reply."""
    monkeypatch.setattr(gate, "LIFE_S", 0.3)

    async def scenario() -> None:
        async with server() as address:
            reader, writer = await asyncio.open_connection(*address, limit=1024)
            writer.write(sent)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            if b"metrics" in sent:
                await asyncio.sleep(0.8)  # in real time, by the server's clock
            with contextlib.suppress(ConnectionError):
                while await reader.read(65536):
                    pass
            assert 0.2 < loop.time() - begun < 5
            writer.close()

    run(scenario())


def test_a_connection_serves_one_request(run: Run) -> None:
    """There is no keep-alive, and further requests are not answered."""

    async def scenario() -> None:
        async with server() as address:
            reply = await ask(address, LIVEZ * 3)
            assert reply.count(b"HTTP/1.1 200 OK") == 1
            assert b"Connection: close" in reply
            assert reply.endswith(b"ok\n")

    run(scenario())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (LIVEZ, 200),
        (LIVEZ.replace(b"GET", b"HEAD"), 200),
        (LIVEZ.replace(b"livez", b"nothing"), 404),
        (LIVEZ.replace(b"GET", b"POST"), 405),
        (LIVEZ.replace(b"GET", b"OPTIONS"), 405),
        (LIVEZ.replace(b"/livez", b"*"), 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /livez HTTP/9.9\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 0),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nX: \x00\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * MOST_BYTES, 0),
        (b"GET / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n" + b"a" * 2**20, 0),
        (b"\x00" * 2 * MOST_BYTES, 0),
    ],
)
def test_any_request_is_answered_or_closed_without_a_log_line(
    run: Run, request_: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Status 0: any answer that is not a success, or none."""
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        async with server() as address:
            try:
                reply = await ask(address, request_)
            except ConnectionError:
                reply = b""
            if status:
                assert reply.startswith((b"HTTP/1.1 %d " % status, b"HTTP/1.0 %d " % status)), reply
            assert (await ask(address, LIVEZ)).startswith(b"HTTP/1.1 200 OK")

    run(scenario())
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING] == []


def test_too_many_headers_are_answered_with_431(run: Run) -> None:
    async def scenario() -> None:
        async with server() as address:
            headers = b"".join(b"X-%d: " % number + b"y" * 200 + b"\r\n" for number in range(100))
            assert (await ask(address, b"GET / HTTP/1.1\r\n" + headers + b"\r\n")).startswith(b"HTTP/1.1 431 ")

    run(scenario())


def test_server_stops_at_once_with_slow_clients_connected(run: Run) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with server(page_s=60) as address:
            one, other = await asyncio.open_connection(*address), await asyncio.open_connection(*address)
            one[1].write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            other[1].write(b"GET /me")
            await asyncio.sleep(0.05)
            begun = loop.time()
        assert loop.time() - begun < 5
        one[1].close()
        other[1].close()

    run(scenario())
