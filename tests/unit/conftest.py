"""Fixtures of several modules of unit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.calls import World, as_new, opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients() -> AsyncIterator[World]:
    """Clients of a fault proxy, for all tests of a module: they take long to make."""
    async with opened() as world:
        yield world


@pytest.fixture
def world(clients: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same, as new. Nothing is tried again, and 100 Continue is not waited for for long."""
    return as_new(clients, monkeypatch)
