"""Fixtures of several modules of unit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.calls import World, as_new, opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients() -> AsyncIterator[World]:
    """Clients of a fault proxy, shared by the tests of a module: they are slow to create."""
    async with opened() as world:
        yield world


@pytest.fixture
def world(clients: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The clients in their first state, without retries and with a short wait for 100 Continue."""
    return as_new(clients, monkeypatch)
