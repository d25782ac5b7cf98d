"""A signal stops the service at any moment of its start."""

from __future__ import annotations

import asyncio

import pytest

from simulation import vtime
from tests.loops import World
from vortex.adapters.metrics import PrometheusMeter
from vortex.core.log.rules import StreamState
from vortex.exits import Exit
from vortex.log.store import LogStore
from vortex.runtime import service as module
from vortex.runtime.assembly import loaded_state
from vortex.runtime.environment import Environment
from vortex.runtime.service import Service


def test_service_starts_nothing_when_it_is_stopped_before_it_runs() -> None:
    """As while the port of its endpoint is opened."""

    async def main() -> None:
        world = World()
        service = Service(world.environment(), PrometheusMeter("clicks"))
        service.stop()
        assert await service.run(drain=False) is Exit.OK
        assert world.store.objects == {}

    vtime.run(main())


@pytest.mark.parametrize("drain", [False, True])
def test_service_ends_when_it_is_stopped_in_the_moment_in_which_the_state_is_loaded(
    drain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load is done then, so it cannot be cancelled any more."""

    async def main() -> None:
        service = Service(World().environment(), PrometheusMeter("clicks"))

        async def loaded(env: Environment) -> tuple[StreamState, LogStore]:
            found = await loaded_state(env)
            asyncio.get_running_loop().call_soon(service.stop)
            return found

        monkeypatch.setattr(module, "loaded_state", loaded)
        async with asyncio.timeout(600):
            assert await service.run(drain=drain) is Exit.OK

    vtime.run(main())


def test_service_ends_when_it_is_stopped_while_the_state_loads() -> None:
    async def main() -> None:
        service = Service(World().environment(), PrometheusMeter("clicks"))
        asyncio.get_running_loop().call_soon(service.stop)
        async with asyncio.timeout(600):
            assert await service.run(drain=False) is Exit.OK

    vtime.run(main())
