"""The scripted Kinesis, and the stream adapter on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.unit.adapters.kinesis.script import Script
from vortex.adapters.kinesis.stream import KinesisStream, open_kinesis_stream


@pytest_asyncio.fixture
async def script(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Script]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    script = Script()
    app = web.Application()
    app.router.add_post("/", script.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        script.url = str(server.make_url("/"))
        yield script


@pytest_asyncio.fixture
async def stream(script: Script) -> AsyncIterator[KinesisStream]:
    async with open_kinesis_stream("events", "us-east-1", script.url) as stream:
        yield stream
