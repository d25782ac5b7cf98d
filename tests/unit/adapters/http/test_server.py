"""Metrics and health, over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest

from vortex import metrics
from vortex.adapters.http.server import UNIX, Check, ask, checks_of, not_served, serve
from vortex.adapters.metrics import PrometheusMeter


async def get(address: tuple[str, int], path: str) -> tuple[int, str]:
    """Status and text."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{address[0]}:{address[1]}{path}") as reply:
        return reply.status, await reply.text()


async def test_server_serves_liveness_and_readiness_and_metrics() -> None:
    """Alive is not ready; `?verbose` gives the reasons."""
    meter = PrometheusMeter()
    checks = [("store", False, "denied"), ("shards", True, "4 are read"), ("stream", True, "a lone \ud800")]

    async def page() -> bytes:
        return meter.page()

    async def ready() -> list[Check]:
        return checks

    async with serve("127.0.0.1", 0, page, ready) as address:
        meter.add(metrics.EVENTS, 3, outcome="accepted")
        assert (await get(address, "/livez"))[0] == 200
        assert (await get(address, "/readyz"))[0] == 503
        assert await get(address, "/readyz?verbose") == (
            503,
            "FAIL store: denied\nok shards: 4 are read\nok stream: a lone \\ud800\n",
        )
        checks[0] = ("store", True, "")
        assert (await get(address, "/readyz"))[0] == 200
        status, text = await get(address, "/metrics")
        assert status == 200
        assert 'vortex_events_total{outcome="accepted",stream=""} 3.0' in text
        assert "process_cpu_seconds_total" in text


async def test_server_listens_on_a_unix_socket(tmp_path: Path) -> None:
    """The supervisor asks its workers this way."""

    async def page() -> bytes:
        return b"metrics"

    async def ready() -> list[Check]:
        return [("store", False, "denied: why"), ("shards", True, "4 are read")]

    async with serve(f"{UNIX}{tmp_path}/s", 0, page, ready) as (host, _):
        assert await ask(host, "/metrics") == "metrics"
        assert checks_of(await ask(host, "/readyz?verbose")) == await ready()
    with pytest.raises(OSError, match="s"):
        await ask(host, "/metrics")


@pytest.mark.parametrize(
    ("host", "port", "problem", "message"),
    [
        ("0.0.0.0", 80, PermissionError(13, "error while attempting to bind"), "0.0.0.0:80: Permission denied"),
        ("8.8.8.8", 1, OSError(99, "error while …"), "8.8.8.8:1: Cannot assign requested address"),
        ("nohost", 1, socket.gaierror(-2, "Name or service not known"), "nohost:1: Name or service not known"),
        ("unix:/a/s", 0, FileNotFoundError(2, "No such file"), ": unix:/a/s: No such file or directory"),
    ],
)
def test_not_served_names_the_address_and_the_reason(host: str, port: int, problem: OSError, message: str) -> None:
    assert not_served(host, port, problem).endswith(message)


async def test_server_serves_the_page_and_its_json_with_a_policy_that_allows_nothing_else() -> None:
    """Without a status there is no page; the policy is on every reply."""

    async def page() -> bytes:
        return b"metrics"

    async def ready() -> list[Check]:
        return []

    async def status() -> bytes:
        return b'{"stream":"snow"}'

    async with serve("127.0.0.1", 0, page, ready, status) as address, aiohttp.ClientSession() as session:
        async with session.get(f"http://{address[0]}:{address[1]}/") as reply:
            text, headers = await reply.text(), reply.headers
        assert text.startswith("<!doctype html>") and reply.content_type == "text/html"
        assert "://" not in text.replace("http://www.w3.org/2000/svg", ""), "nothing from elsewhere"
        assert len(text) < 16_384
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; connect-src 'self'") and policy.count("'sha256-") == 2
        assert await get(address, "/status.json") == (200, '{"stream":"snow"}')
        async with session.get(f"http://{address[0]}:{address[1]}/livez") as reply:
            assert reply.headers["Content-Security-Policy"] == policy
        async with session.post(f"http://{address[0]}:{address[1]}/") as reply:
            assert reply.status == 405
    async with serve("127.0.0.1", 0, page, ready) as address:
        assert (await get(address, "/"))[0] == 404


@pytest.mark.parametrize("host", ["xn--", "a..b", "a" * 300, "xn--a:99"])
async def test_server_answers_a_request_that_names_an_invalid_host(host: str) -> None:
    """Its decoding fails; that must not end the connection's task with a traceback."""
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))

    async def page() -> bytes:
        return b"metrics"

    async def ready() -> list[Check]:
        return []

    async with serve("127.0.0.1", 0, page, ready) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"GET http://{host}/livez HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 200 OK")
        writer.close()
    assert not problems
