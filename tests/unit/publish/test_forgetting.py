"""What a planner learns about retired shards before it forgets them."""

from __future__ import annotations

import asyncio

import msgspec

from simulation import vtime
from simulation.memstore import MemoryStore
from simulation.memstream import MemoryStream
from vortex.core.log.rules import first_footer
from vortex.core.log.sealing import seal
from vortex.core.model import Position, ShardInfo, Start
from vortex.core.publish.plan import Plan, PlanShard
from vortex.log.store import LogStore
from vortex.ports import Unavailable
from vortex.publish.forgetting import Forgetter
from vortex.retry import Once

GONE = "shardId-000000000000"


class Ground:
    """A store with the log of a shard that ended at the beginning, and a stream that does not list it any more."""

    def __init__(self) -> None:
        self.clock = vtime.VirtualClock()
        self.log_store = LogStore(MemoryStore(self.clock), "_vortex/s@1", Once())
        self.stream = MemoryStream(self.clock, before=self._before)
        self.stream.merge(*self.stream.split(GONE, 1 << 127))
        self.fails, self.asked = False, list[str]()
        self.start = self.clock.now_ms()

    async def _before(self, operation: str, shard: str) -> None:
        self.asked.append(operation)
        if self.fails:
            raise Unavailable(operation, "throttled")

    async def begin(self) -> None:
        first = first_footer(ShardInfo(GONE), Position(Start.TRIM_HORIZON), 0, self.start, owner="", created=0)
        await self.log_store.commit(GONE, seal(msgspec.structs.replace(first, ended=True)))

    def plan(self) -> Plan:
        now = self.clock.now_ms()
        return Plan(k=1, after=now - 1, upto=now, shards={"live": PlanShard()}, retired={GONE: 0}, target=1)

    async def forgets(self, forgetter: Forgetter, clean: set[str] | None = None) -> bool:
        """Whether the next plan after a clean-up is without the shard."""
        await forgetter.look(self.plan(), {GONE} if clean is None else clean)
        return not forgetter.without_forgotten(self.plan(), {}).retired


def test_forgetter_waits_for_the_retention_and_a_margin_and_two_listings() -> None:
    async def scenario() -> None:
        ground = Ground()
        await ground.begin()
        forgetter = Forgetter(ground.log_store, ground.clock, ground.stream)
        assert not await ground.forgets(forgetter)
        assert "list_shards" not in ground.asked, "the shard is not old enough to be asked for"
        await asyncio.sleep(24 * 3600 + 1800)
        assert not await ground.forgets(forgetter), "it ended less than 25 h ago"
        await asyncio.sleep(1800)
        assert not await ground.forgets(forgetter), "one listing without it"
        await asyncio.sleep(3599)
        assert not await ground.forgets(forgetter)
        await asyncio.sleep(1)
        assert await ground.forgets(forgetter)

    vtime.run(scenario())


def test_forgetter_forgets_nothing_while_more_than_the_last_segment_is_left_or_nobody_answers() -> None:
    async def scenario() -> None:
        ground = Ground()
        await ground.begin()
        forgetter = Forgetter(ground.log_store, ground.clock, ground.stream)
        await asyncio.sleep(30 * 3600)
        for _ in range(3):
            assert not await ground.forgets(forgetter, set())
            await asyncio.sleep(3600)
        ground.fails = True
        for _ in range(3):
            assert not await ground.forgets(forgetter)
            await asyncio.sleep(3600)
        ground.fails = False
        assert not await ground.forgets(forgetter)
        await asyncio.sleep(3600)
        assert await ground.forgets(forgetter)

    vtime.run(scenario())


def test_forgetter_without_a_stream_forgets_nothing() -> None:
    async def scenario() -> None:
        ground = Ground()
        await ground.begin()
        forgetter = Forgetter(ground.log_store, ground.clock, None)
        for _ in range(3):
            await asyncio.sleep(30 * 3600)
            assert not await ground.forgets(forgetter)

    vtime.run(scenario())


def test_forgetter_keeps_all_shards_when_the_end_of_a_log_is_missing() -> None:
    """An operator has deleted the last segment of a retired log: then nothing says which children it names."""

    async def scenario() -> None:
        ground = Ground()
        forgetter = Forgetter(ground.log_store, ground.clock, ground.stream)
        for _ in range(3):
            await asyncio.sleep(30 * 3600)
            assert not await ground.forgets(forgetter)

    vtime.run(scenario())
