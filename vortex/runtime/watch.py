"""Tasks beside the loops of a process: they update its gauges and compare the clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from vortex import metrics
from vortex.adapters.http.server import Check
from vortex.health import SILENCE_S, Reach
from vortex.ingest.worker import ShardWorker
from vortex.runtime.assembly import Assembly
from vortex.runtime.environment import Environment
from vortex.runtime.gauges import Gauges

_COMPARE_S = 60.0
_FRESH_S = 2.0
_READING = "reading"


class Watch:
    """Keeps gauges and health fresh, also before the stream's state is loaded and while no service answers."""

    def __init__(
        self,
        env: Environment,
        checks: Callable[[], Sequence[Check]],
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        """`checks` are those of /readyz; `looked` is called after each look."""
        self._env, self._checks, self._looked = env, checks, looked
        self._loops: Assembly | None = None
        self._gauges: Gauges | None = None
        self._since: dict[str, float] = {}
        """When this first saw each shard that has no page yet."""

    def begin(self, loops: Assembly) -> None:
        """Watch over these loops from now on, too."""
        publisher = loops.publisher
        self._loops = loops
        self._gauges = Gauges(
            self._env.meter,
            self._env.clock,
            loops.fleet.workers,
            publisher.status,
            publisher.dedup.keys,
            self._env.memory,
        )

    async def run(self) -> None:
        """Run until cancelled."""
        comparing = asyncio.ensure_future(self._compare_clocks())
        try:
            while not comparing.done():
                self.look()
                self._looked()
                await self._env.clock.sleep(_FRESH_S)
            comparing.result()
        finally:
            comparing.cancel()

    def look(self) -> None:
        """Bring health and gauges up to date."""
        env = self._env
        for reach in self._called():
            reach.look()
        if self._loops is not None:
            self._look_at_shards(self._loops)
        if self._gauges is not None:
            self._gauges.update()
        failed = [name for name, ok, _ in self._checks() if not ok]
        kinds = {trouble.kind for trouble in env.health.troubles()} | set(failed)
        env.meter.set(metrics.READY, not failed)
        for name in metrics.TROUBLES:
            env.meter.set(metrics.TROUBLE, name in kinds, name=name)
        for reach in self._called():
            if reach.succeeded_ms is not None:
                env.meter.set(metrics.LAST_SUCCESS, reach.succeeded_ms / 1000, service=reach.name)

    def _called(self) -> list[Reach]:
        """The services that are called all the time: not a lease table that was read once, at the first start."""
        names = {"kinesis"}
        if self._loops is not None:
            names |= {"store"} if self._loops.fleet.alone else {"store", "lease table"}
        return [reach for reach in self._env.retry.reaches if reach.name in names]

    def _look_at_shards(self, loops: Assembly) -> None:
        """Unready while a shard brings no page for minutes, whatever the cause: its hours stay open."""
        now, workers = self._env.clock.monotonic(), loops.fleet.workers
        self._since = {shard: self._since.get(shard, now) for shard in workers}
        ages = {shard: now - self._read_at(worker) for shard, worker in workers.items() if not _waits(worker)}
        silent = sorted(shard for shard, age in ages.items() if age >= SILENCE_S)
        if not silent:
            self._env.health.good(_READING)
            return
        longest = max(ages[shard] for shard in silent)
        others = f" and {len(silent) - 1} other shards" if len(silent) > 1 else ""
        detail = f"no page of {silent[0]}{others} for {longest / 60:.0f} min"
        self._env.health.bad(_READING, detail, again=False)

    def _read_at(self, worker: ShardWorker) -> float:
        at = worker.status.read_at
        return self._since[worker.shard.id] if at is None else at

    async def _compare_clocks(self) -> None:
        env = self._env
        while True:
            await env.retry("server time", env.stream.server_time)  # reports clocks that disagree
            await env.clock.sleep(_COMPARE_S)


def _waits(worker: ShardWorker) -> bool:
    """Whether it is drained, and waits for the others."""
    return worker.orders.drain and worker.orders.at_tip.is_set()
