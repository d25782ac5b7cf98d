"""What goes on beside the loops of a process: its gauges are kept fresh, and the clocks compared."""

from __future__ import annotations

import asyncio

from vortex.runtime.assembly import Assembly
from vortex.runtime.environment import Environment
from vortex.runtime.gauges import Gauges

_COMPARE_S = 60.0
_FRESH_S = 2.0


class Watch:
    """Keeps the gauges fresh, also while the stream does not answer; compares the clocks when it does."""

    def __init__(self, env: Environment, gauges: Gauges) -> None:
        self._env, self._gauges = env, gauges

    async def run(self) -> None:
        """Run until cancelled."""
        comparing = asyncio.ensure_future(self._compare_clocks())
        try:
            while not comparing.done():
                self._gauges.update()
                await self._env.clock.sleep(_FRESH_S)
            comparing.result()
        finally:
            comparing.cancel()

    async def _compare_clocks(self) -> None:
        env = self._env
        while True:
            await env.retry("server time", env.stream.server_time)  # reports clocks that disagree
            await env.clock.sleep(_COMPARE_S)


def watch_over(loops: Assembly) -> Watch:
    """The watch over these loops."""
    env, publisher = loops.env, loops.publisher
    gauges = Gauges(env.meter, env.clock, loops.fleet.workers, publisher.status, publisher.dedup.keys)
    return Watch(env, gauges)
