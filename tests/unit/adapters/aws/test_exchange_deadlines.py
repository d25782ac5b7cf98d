"""Every call ends within its deadline, in whatever phase the peer stalls; a call that makes progress may take
longer.
"""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import suppress
from typing import Any, NoReturn

import pytest
from aiohttp import ClientConnectionResetError
from aiohttp.http_writer import StreamWriter

from tests.calls import CASES, WAIT_S, Case, World
from tests.faultproxy import only
from vortex.adapters.aws import exchange
from vortex.adapters.s3 import store as s3
from vortex.adapters.s3.store import open_s3_store
from vortex.ports import Unavailable

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("case", [case for case in CASES if case.alone and case.name != "put"], ids=lambda c: c.name)
async def test_a_call_times_out_when_the_reply_trickles_in(world: World, case: Case) -> None:
    """Although bytes arrive all the time."""
    if case.name == "put_large":
        pytest.skip("its reply has no body")  # the reply to a put
    world.aws.objects["root/dir/a"] = bytes(100)
    world.patience(WAIT_S)
    world.proxy.choose = only("trickle", case.call, times=2)
    with pytest.raises(Unavailable) as caught:
        await case.ask(world)
    assert caught.value.cause == "timeout"


@pytest.mark.parametrize("size", [2**20, 2**23])
async def test_a_put_times_out_when_the_peer_stops_reading(
    world: World, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Also when it sends interim replies."""
    monkeypatch.setattr(exchange, "SLOWEST", 2**26)
    gone = asyncio.Event()

    async def take_a_little(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(1000)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        with suppress(OSError):
            while not writer.transport.is_closing():
                writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        gone.set()

    async with await asyncio.start_server(take_a_little, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_s3_store(
            "s3://b", region="us-east-1", endpoint_url=url, connect_timeout_s=0.2, read_timeout_s=0.2
        ) as store:
            begun = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                await store.put_if_absent("key", bytes(size))
            assert caught.value.cause == "timeout"
            assert time.monotonic() - begun < 3
            await asyncio.wait_for(gone.wait(), 3)


async def test_a_put_of_a_large_body_succeeds_on_a_slow_link(world: World) -> None:
    """It may take longer than the deadline while it makes progress."""
    taken = bytearray()

    async def take_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"100-continue" in head
        while len(taken) < len(body):
            await asyncio.sleep(0.06)
            taken.extend(await reader.read(2**17))
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')

    body = bytes(range(256)) * 2**15
    async with await asyncio.start_server(take_slowly, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_s3_store(
            "s3://b", region="us-east-1", endpoint_url=url, connect_timeout_s=0.7, read_timeout_s=0.7
        ) as store:
            begun = time.monotonic()
            assert await store.put_if_absent("key", body)
            assert time.monotonic() - begun > 2 * 1.4
    assert taken == body


@pytest.mark.parametrize("size", [1000, 1 << 21])
async def test_put_leaves_no_error_behind_when_its_connection_ends_before_the_body_is_written(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aiohttp's task that writes the body failed for itself, and its traceback was logged."""
    found: list[dict[str, Any]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    def closing(self: StreamWriter) -> NoReturn:
        raise ClientConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(StreamWriter, "send_headers", closing)
    monkeypatch.setattr(s3, "_PAUSES_S", ())
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(context))
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_s3_store("s3://b", region="us-east-1", endpoint_url=url) as store:
            with pytest.raises(Unavailable):
                await store.put_if_absent("key", bytes(size))
    gc.collect()
    loop.set_exception_handler(None)
    assert found == []
