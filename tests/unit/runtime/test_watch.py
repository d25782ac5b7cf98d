"""Gauges and health of a worker stay current while the stream does not answer."""

from __future__ import annotations

import asyncio
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from simulation import vtime
from vortex.ports import Unavailable
from vortex.retry import Health, Retry
from vortex.runtime.trust import TrustedClock, TrustedStream
from vortex.runtime.watch import Watch


def test_watch_updates_gauges_while_the_stream_does_not_answer() -> None:
    """The clocks are compared when it answers again."""

    async def scenario() -> None:
        clock, health, updates, down = vtime.VirtualClock(), Health(), list[float](), True

        async def server_time() -> int:
            if down:
                raise Unavailable("no way there", "connection")
            return clock.now_ms() + 3_600_000

        world = SimpleNamespace(
            clock=clock,
            health=health,
            retry=Retry(clock, vtime.NullMeter(), health, Random(1), "kinesis"),
            stream=TrustedStream(
                cast(Any, SimpleNamespace(server_time=server_time)), TrustedClock(clock, health, vtime.NullMeter())
            ),
        )
        gauges = SimpleNamespace(update=lambda: updates.append(clock.monotonic()))
        watching = asyncio.ensure_future(Watch(cast(Any, world), cast(Any, gauges)).run())
        await asyncio.sleep(300)
        assert updates == [2.0 * number for number in range(150)]
        assert list(health.report()) == ["kinesis"]
        down = False
        await asyncio.sleep(21)
        assert list(health.report()) == ["clock"]
        watching.cancel()

    vtime.run(scenario())
