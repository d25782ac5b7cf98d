"""A signal stops the service at any moment of its start; a drain publishes all that it has read."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from simulation import vtime
from tests.loops import World
from vortex.adapters.metrics import PrometheusMeter
from vortex.core.log.rules import BrokenLog, StreamState
from vortex.exits import Exit
from vortex.ingest.worker import ShardWorker
from vortex.log.store import LogStore
from vortex.publish.publisher import Publisher
from vortex.runtime import service as module
from vortex.runtime.assembly import loaded_state
from vortex.runtime.environment import Environment
from vortex.runtime.service import Service

_HANGING = """
import asyncio, time
from vortex.exits import Exit
from vortex.runtime import service

async def main(*arguments):
    asyncio.ensure_future(asyncio.to_thread(time.sleep, 600))
    await asyncio.sleep(0.1)
    print("said")
    return Exit.UNFINISHED

service._main = main
service.run(None, drain=True)
"""
SHUTDOWN_S = 25
"""`shutdown.grace` by default."""


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
            assert await service.run(drain=drain) is (Exit.UNFINISHED if drain else Exit.OK)

    vtime.run(main())


def test_service_ends_with_its_grace_period_when_a_shard_never_stops_and_publishing_waits_for_its_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last look begins when the grace period is over, and may take as long as the outage that held up the shard."""

    async def main() -> float:
        env = World().environment()
        service = Service(env, PrometheusMeter("clicks"))
        loop, publish = asyncio.get_running_loop(), Publisher.step

        async def never(*arguments: object) -> None:
            await loop.create_future()

        async def step(publisher: Publisher) -> bool:
            if loop.time() >= stopped_at + SHUTDOWN_S:
                await never()
            return await publish(publisher)

        monkeypatch.setattr(ShardWorker, "run", never)
        monkeypatch.setattr(Publisher, "step", step)
        running, stopped_at = asyncio.ensure_future(service.run(drain=False)), 61.0
        await asyncio.sleep(stopped_at)
        service.stop()
        done, _ = await asyncio.wait([running], timeout=3600)
        assert done, "it still runs an hour later"
        return loop.time() - stopped_at

    assert vtime.run(main()) <= SHUTDOWN_S


def test_process_ends_when_a_thread_of_it_hangs() -> None:
    """Such as in a look-up of a name, or in a call of a disk whose server is gone."""
    done = subprocess.run([sys.executable, "-c", _HANGING], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (Exit.UNFINISHED, "said\n", "")


def test_drain_ends_with_its_grace_period_when_it_is_stopped_while_it_publishes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading has ended by itself then, and a put hangs."""

    async def main() -> float:
        service = Service(filled().environment(), PrometheusMeter("clicks"))
        loop, publish, hangs = asyncio.get_running_loop(), Publisher.step, asyncio.Event()

        async def step(publisher: Publisher, *, thorough: bool = False) -> bool:
            assert service._app is not None
            if service._app._read_out.is_set():
                hangs.set()
                await loop.create_future()
            return await publish(publisher, thorough=thorough)

        monkeypatch.setattr(Publisher, "step", step)
        running = asyncio.ensure_future(service.run(drain=True))
        await hangs.wait()
        service.stop()
        stopped_at = loop.time()
        done, _ = await asyncio.wait([running], timeout=3600)
        assert done, "it still runs an hour later"
        assert running.result() is Exit.UNFINISHED
        return loop.time() - stopped_at

    assert vtime.run(main()) <= SHUTDOWN_S


def test_drain_ends_with_the_error_when_looking_for_its_end_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not read on without end."""

    async def broken(publisher: Publisher) -> int | None:
        raise TypeError("broken")

    async def main() -> None:
        monkeypatch.setattr(Publisher, "unpublished_end", broken)
        async with asyncio.timeout(3600):
            await Service(filled().environment(), PrometheusMeter("clicks")).run(drain=True)

    with pytest.raises(TypeError, match="broken"):
        vtime.run(main())


def filled() -> World:
    """A world with a backlog of eight seconds in its first shard, and an empty second one."""
    world = World(page_records=50)
    for number in range(2000):
        name = f"id{number}"
        world.stream.put(name, json.dumps({"c": f"c{len(name) % 3}", "t": "v", "id": name}).encode(), explicit_hash=1)
        world.sent[name] += 1
    return world


def test_drain_publishes_what_was_put_before_when_its_shards_merge_meanwhile() -> None:
    """One parent ends, and the other waits at its tip already, so the child is for a second round."""

    async def main() -> None:
        world = filled()
        service = Service(world.environment(), PrometheusMeter("clicks"))
        first, second = (shard.id for shard in world.stream.shards())
        asyncio.get_running_loop().call_later(4, world.stream.merge, first, second)
        async with asyncio.timeout(60):
            assert await service.run(drain=True) is Exit.OK
        await world.verified()

    vtime.run(main())


def test_drain_ends_as_unfinished_and_names_the_shards_when_its_last_round_leaves_events(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where shards merge in each of its rounds. It ended with 0 and a warning that named nothing."""

    async def main() -> None:
        monkeypatch.setattr(module, "_DRAINS", 1)
        world = filled()
        service = Service(world.environment(), PrometheusMeter("clicks"))
        first, second = (shard.id for shard in world.stream.shards())
        asyncio.get_running_loop().call_later(4, world.stream.merge, first, second)
        async with asyncio.timeout(60):
            assert await service.run(drain=True) is Exit.UNFINISHED
        (child,) = (shard.id for shard in world.stream.shards() if shard.parents)
        said = f"the drain is not finished: unpublished events of shard {first} wait for shard {child}. "
        assert said in caplog.text

        monkeypatch.undo()  # a further drain publishes them
        async with asyncio.timeout(60):
            assert await Service(world.environment(), PrometheusMeter("clicks")).run(drain=True) is Exit.OK
        await world.verified()

    vtime.run(main())


def test_drain_names_the_first_shards_alone_when_many_wait() -> None:
    assert module._some(["a"]) == "shard a"
    named = module._some([f"{number:02}" for number in range(12)])
    assert named.startswith("shard 00, shard 01, ")
    assert named.endswith(", shard 09, 2 other shards")


def test_drain_ends_as_unfinished_when_it_is_stopped_while_it_reads(caplog: pytest.LogCaptureFixture) -> None:
    """A job of Kubernetes whose pod is evicted must not count as done."""

    async def main() -> None:
        service = Service(filled().environment(), PrometheusMeter("clicks"))
        asyncio.get_running_loop().call_later(1, service.stop)
        async with asyncio.timeout(600):
            assert await service.run(drain=True) is Exit.UNFINISHED
        assert "the drain was stopped before its end; run it again" in caplog.text

    vtime.run(main())


def test_drain_ends_when_it_is_stopped_while_it_looks_for_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store may not answer then."""

    async def main() -> None:
        service, looks = Service(filled().environment(), PrometheusMeter("clicks")), []
        unpublished = Publisher.unpublished_end

        async def slow(publisher: Publisher) -> int | None:
            looks.append(publisher)
            if len(looks) > 1:
                asyncio.get_running_loop().call_soon(service.stop)
                await asyncio.get_running_loop().create_future()
            return await unpublished(publisher)

        monkeypatch.setattr(Publisher, "unpublished_end", slow)
        async with asyncio.timeout(60):
            assert await service.run(drain=True) is Exit.UNFINISHED
        assert len(looks) == 2

    vtime.run(main())


def test_drain_ends_with_lost_state_when_the_state_is_broken_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        service, looks = Service(filled().environment(), PrometheusMeter("clicks")), []
        unpublished = Publisher.unpublished_end

        async def broken(publisher: Publisher) -> int | None:
            looks.append(publisher)
            if len(looks) > 1:
                raise BrokenLog("state was lost")
            return await unpublished(publisher)

        monkeypatch.setattr(Publisher, "unpublished_end", broken)
        async with asyncio.timeout(60):
            assert await service.run(drain=True) is Exit.LOST_STATE

    vtime.run(main())


def test_service_ends_when_it_is_stopped_while_the_state_loads() -> None:
    async def main() -> None:
        service = Service(World().environment(), PrometheusMeter("clicks"))
        asyncio.get_running_loop().call_soon(service.stop)
        async with asyncio.timeout(600):
            assert await service.run(drain=False) is Exit.OK

    vtime.run(main())


def test_service_ends_with_lost_state_and_says_why_when_it_is_stopped_after_it_gave_a_shard_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own line may be days old by then."""

    async def main() -> None:
        service = Service(World(shards=1).environment(), PrometheusMeter("clicks"))

        async def broken(worker: ShardWorker) -> None:
            raise BrokenLog("a hole")

        monkeypatch.setattr(ShardWorker, "run", broken)
        asyncio.get_running_loop().call_later(60, service.stop)
        async with asyncio.timeout(600):
            assert await service.run(drain=False) is Exit.LOST_STATE
        shard = World(shards=1).stream.shards()[0].id
        assert f"1 shard given up since the start, such as {shard}: a hole; exit code 5" in caplog.text

    vtime.run(main())
