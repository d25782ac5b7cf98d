"""`vortex health`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from vortex.adapters.http.server import Check, serve
from vortex.commands.health import health
from vortex.config.settings import Http
from vortex.exits import Exit


async def _page() -> bytes:
    return b""


async def _checks() -> Sequence[Check]:
    return []


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_health_is_ok_when_the_worker_answers(host: str) -> None:
    """A worker that listens on every address is asked on loopback."""
    async with serve("127.0.0.1", 0, _page, _checks) as (_, port):
        assert await asyncio.to_thread(health, Http(host=host, port=port)) == Exit.OK


async def test_health_is_ok_when_the_worker_listens_on_a_socket(tmp_path: Path) -> None:
    host = f"unix:{tmp_path}/h"
    async with serve(host, 0, _page, _checks):
        assert await asyncio.to_thread(health, Http(host=host)) == Exit.OK


def test_health_fails_and_names_the_address_when_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert health(Http(port=port)) == Exit.FAILED
    said = capsys.readouterr().err
    assert f"http://127.0.0.1:{port}/livez does not answer" in said and "start `vortex run`" in said


def test_health_fails_when_the_worker_does_not_answer_in_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that hangs accepts connections and says nothing."""
    monkeypatch.setattr("vortex.commands.health._WAIT_S", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert health(Http(port=silent.getsockname()[1])) == Exit.FAILED
    assert "timed out" in capsys.readouterr().err


def test_health_says_what_to_set_when_the_port_is_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert health(Http(port=0)) == Exit.CONFIG
    assert "http.port is 0" in capsys.readouterr().err
