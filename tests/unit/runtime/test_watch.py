"""Gauges and health of a worker stay current from its start, also while the stream does not answer."""

from __future__ import annotations

import asyncio
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from simulation import vtime
from vortex import metrics
from vortex.adapters.metrics import PrometheusMeter
from vortex.health import Health
from vortex.ingest.memory import MemoryBudget
from vortex.ingest.status import ShardStatus
from vortex.ports import Unavailable
from vortex.publish.publisher import PublisherStatus
from vortex.retry import Retry
from vortex.runtime.trust import TrustedClock, TrustedStream
from vortex.runtime.watch import Watch


class Process:
    """What a watch looks at: a stream that may be out of reach, and shards whose pages a test brings."""

    def __init__(self) -> None:
        self.clock = vtime.VirtualClock()
        self.health, self.meter, self.down, self.hangs, self.skew_ms = Health(), PrometheusMeter("s"), False, False, 0
        trusted = TrustedClock(self.clock, self.health, vtime.NullMeter())
        stream = TrustedStream(cast(Any, SimpleNamespace(server_time=self._server_time)), trusted)
        self.retry = Retry(self.clock, self.meter, self.health, Random(1), "kinesis")
        self.publisher = PublisherStatus()
        self.workers: dict[str, Any] = {}
        loops = SimpleNamespace(
            fleet=SimpleNamespace(workers=self.workers, alone=True),
            publisher=SimpleNamespace(status=self.publisher, dedup=SimpleNamespace(keys=_NoKeys())),
        )
        self.loops = cast(Any, loops)
        self.memory = MemoryBudget(lambda shards, _: 100 * shards)
        env = SimpleNamespace(
            clock=self.clock,
            health=self.health,
            meter=self.meter,
            retry=self.retry,
            stream=stream,
            memory=self.memory,
        )
        self.watch = Watch(cast(Any, env), self.checks)
        self.task = asyncio.ensure_future(self.watch.run())

    def checks(self) -> list[tuple[str, bool, str]]:
        return [(name, False, detail) for name, detail in self.health.report().items()]

    async def _server_time(self) -> int:
        if self.hangs:
            await asyncio.sleep(100_000)
        if self.down:
            raise Unavailable("no way there", "connection")
        return self.clock.now_ms() + self.skew_ms

    def shard(self, name: str) -> ShardStatus:
        """Begin to read a shard."""
        status = ShardStatus(name)
        orders = SimpleNamespace(drain=False, at_tip=asyncio.Event())
        self.workers[name] = SimpleNamespace(status=status, shard=SimpleNamespace(id=name), orders=orders)
        return status

    def shown(self, metric: metrics.Metric) -> list[str]:
        """The series of a metric on the page."""
        lines = self.meter.page().decode().splitlines()
        return [line for line in lines if line.startswith((f"{metric.name}{{", f"{metric.name} "))]


class _NoKeys:
    nbytes = 0

    def __len__(self) -> int:
        return 0


def test_watch_reports_a_stream_that_does_not_answer_before_the_state_is_loaded() -> None:
    """Readiness, what is in trouble, and when it answered last; the clocks are compared when it answers again."""

    async def scenario() -> None:
        process = Process()
        await asyncio.sleep(100)
        assert process.shown(metrics.READY) == ['vortex_ready{stream="s"} 1.0']
        at = process.shown(metrics.LAST_SUCCESS)
        assert len(at) == 1 and at[0].startswith('vortex_last_success_timestamp_seconds{service="kinesis",stream="s"}')
        process.down = True
        await asyncio.sleep(300)
        assert list(process.health.report()) == ["kinesis"]
        assert process.shown(metrics.READY) == ['vortex_ready{stream="s"} 0.0']
        assert 'vortex_trouble{name="kinesis",stream="s"} 1.0' in process.shown(metrics.TROUBLE)
        (stood,) = process.shown(metrics.LAST_SUCCESS)
        await asyncio.sleep(300)
        assert process.shown(metrics.LAST_SUCCESS) == [stood]
        process.down, process.skew_ms = False, 3_600_000
        await asyncio.sleep(30)
        assert list(process.health.report()) == ["clock"]
        process.task.cancel()

    vtime.run(scenario())


def test_watch_reports_a_service_that_neither_answers_nor_fails() -> None:
    async def scenario() -> None:
        process = Process()
        process.hangs = True
        await asyncio.sleep(290)
        assert process.health.report() == {}
        await asyncio.sleep(20)
        assert process.health.report() == {"kinesis": "no call has succeeded for 5 min"}
        process.task.cancel()

    vtime.run(scenario())


def test_watch_waits_for_a_lease_table_only_in_a_fleet() -> None:
    """A process that has all shards reads the table once, at the first start or when it drains a fleet's stream."""

    async def scenario() -> None:
        for alone, troubles in ((True, []), (False, ["lease table"])):
            process = Process()
            process.loops.fleet.alone = alone
            process.watch.begin(process.loops)
            table = process.retry.of("lease table")
            await table("read leases", process._server_time)
            await asyncio.sleep(400)
            assert list(process.health.report()) == troubles
            assert any('service="lease table"' in line for line in process.shown(metrics.LAST_SUCCESS)) != alone
            process.task.cancel()

    vtime.run(scenario())


def test_watch_reports_shards_that_bring_no_page_for_minutes() -> None:
    """Though every service answers; a shard counts from when it was taken."""

    async def scenario() -> None:
        process = Process()
        process.watch.begin(process.loops)
        statuses = [process.shard(name) for name in ("a", "b", "c")]
        for _ in range(320):
            statuses[1].page(0, process.clock.monotonic())
            await asyncio.sleep(1)
        assert process.health.report() == {"reading": "no page of a and 1 other shards for 5 min"}
        for status in statuses:
            status.page(0, process.clock.monotonic())
        await asyncio.sleep(2)
        assert process.health.report() == {}
        process.task.cancel()

    vtime.run(scenario())


def test_lag_of_a_shard_grows_with_the_time_since_its_last_page() -> None:
    """And is not exported before the first page, nor after the shard has moved."""

    async def scenario() -> None:
        process = Process()
        process.watch.begin(process.loops)
        status = process.shard("a")
        await asyncio.sleep(3)
        assert process.shown(metrics.SHARD_LAG) == []
        status.page(7000, process.clock.monotonic())
        await asyncio.sleep(1200)
        (line,) = process.shown(metrics.SHARD_LAG)
        name, value = line.split(" ")
        assert name == 'vortex_shard_lag_seconds{shard="a",stream="s"}'
        assert 1203 <= float(value) <= 1207
        process.workers.clear()
        await asyncio.sleep(3)
        assert process.shown(metrics.SHARD_LAG) == []
        process.task.cancel()

    vtime.run(scenario())


def test_gauge_of_the_memory_limit_follows_the_shards() -> None:
    async def scenario() -> None:
        process = Process()
        process.watch.begin(process.loops)
        for shards in range(3):
            process.memory.at_tip(f"shard {shards}")
        await asyncio.sleep(3)
        assert process.shown(metrics.MEMORY_LIMIT) == ['vortex_memory_limit_bytes{stream="s"} 300.0']
        process.memory.leave("shard 1")
        await asyncio.sleep(3)
        assert process.shown(metrics.MEMORY_LIMIT) == ['vortex_memory_limit_bytes{stream="s"} 200.0']
        process.task.cancel()

    vtime.run(scenario())


def test_gauges_of_publishing_are_exported_once_they_are_known() -> None:
    """The last closed hour does not begin at 0; who no longer plans says nothing of the frontier."""

    async def scenario() -> None:
        process = Process()
        process.watch.begin(process.loops)
        gauges = (metrics.LAST_CLOSED_HOUR, metrics.FRONTIER, metrics.OLDEST_UNPUBLISHED, metrics.FRONTIER_HOLDER)
        await asyncio.sleep(3)
        assert [process.shown(gauge) for gauge in gauges] == [[], [], [], []]
        status = process.publisher
        status.plans, status.frontier, status.holder, status.closed_hour = True, 7_200_000, "a", 3_600_000
        await asyncio.sleep(2)
        assert [process.shown(gauge) for gauge in gauges] == [
            ['vortex_last_closed_hour_seconds{stream="s"} 3600.0'],
            ['vortex_frontier_seconds{stream="s"} 7200.0'],
            ['vortex_oldest_unpublished_age_seconds{stream="s"} 0.0'],
            ['vortex_frontier_holder{shard="a",stream="s"} 1.0'],
        ]
        status.plans, status.frontier, status.holder = False, None, ""
        await asyncio.sleep(2)
        assert [process.shown(gauge) for gauge in gauges[1:]] == [[], [], []]
        process.task.cancel()

    vtime.run(scenario())
