"""A damaged reply of the store is read again: a copy can be corrupted on the way while the stored object is intact."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import World
from vortex.core.log.trailer import CorruptSegment
from vortex.log.objects import PAUSES_S
from vortex.metrics import RETRIES, CounterMetric


class DamagingStore(MemoryStore):
    """Flips a bit in every part of a segment, and truncates documents, for the first `times` reads of each."""

    times = 1

    def _damaged(self, key: str, data: bytes) -> bytes:
        self.readings: dict[tuple[str, int], int] = getattr(self, "readings", {})
        place = key, len(data)
        self.readings[place] = self.readings.get(place, 0) + 1
        if not key.endswith(".seg") or not data or self.readings[place] > self.times:
            return data
        at = len(data) // 2
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    async def get(self, key: str) -> bytes:
        data = await super().get(key)
        self._damaged(key, data)
        return data[:-1] if key.endswith(".json") and self.readings[key, len(data)] <= self.times else data

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self._damaged(key, await super().get_range(key, offset, length))

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        tail, size = await super().get_tail(key, length)
        return self._damaged(key, tail) if length > 1 else tail, size


def test_documents_and_segment_parts_are_read_again_when_a_reply_is_damaged() -> None:
    """Everything is published, also across restarts, which read the log; no shard is given up."""

    async def scenario() -> None:
        world = World()
        world.store = DamagingStore(world.clock)
        for life in range(3):
            worker = await world.begin()
            for _ in range(40):
                for _ in range(5):
                    world.put(f"id{len(world.sent)}")
                await world.clock.sleep(30)
            if life == 2:
                await world.clock.sleep(7200)
            await worker.kill()
            assert not world.health.report()
        world.store.times = 0
        await world.verified()

    vtime.run(scenario())


class BadMinute(MemoryStore):
    """Every part of a segment is damaged until some time, as by a proxy."""

    until_s = 0.0

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        tail, size = await super().get_tail(key, length)
        if self._clock.monotonic() >= self.until_s or not key.endswith(".seg") or length < 2:
            return tail, size
        return tail[:-1] + bytes([tail[-1] ^ 1]), size


class Causes(vtime.NullMeter):
    """Counts retries by cause."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def add(self, metric: CounterMetric, value: float = 1, **labels: str) -> None:
        if metric is RETRIES:
            self.counted[labels["cause"]] += 1


def test_segment_is_read_again_over_more_than_a_minute_when_a_proxy_damages_every_reply(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not believed to be corrupt, and the shard is not given up."""

    async def scenario() -> None:
        meter = Causes()
        world = World(shards=1, meter=meter)
        world.store = store = BadMinute(world.clock)
        worker = await world.begin()
        world.put("a")
        await world.clock.sleep(60)
        await worker.kill()
        store.until_s = world.clock.monotonic() + 60
        worker = await world.begin()
        world.put("b")
        await world.clock.sleep(3600)
        assert not world.health.report()
        assert meter.counted["corrupt"] >= 4
        await worker.kill()
        await world.verified()

    with caplog.at_level(logging.WARNING):
        vtime.run(scenario())
    said = [record.message for record in caplog.records if "reading it again" in record.message]
    assert list(dict.fromkeys(line.rpartition(" in ")[2] for line in said)) == ["1 s", "5 s", "20 s", "60 s"]


def test_log_store_raises_corrupt_segment_after_readings_over_more_than_a_minute() -> None:
    """The error names the shard."""

    async def scenario() -> None:
        world = World()
        worker = await world.begin()
        world.put("a")
        await world.clock.sleep(60)
        await worker.kill()
        key = next(key for key in world.store.objects if key.endswith("000.seg"))
        shard = key.split("/")[-2]
        body = bytearray(world.store.objects[key])
        body[-40] ^= 1
        world.store.objects[key] = bytes(body)
        readings = 0

        async def count(operation: str, asked: str) -> None:
            nonlocal readings
            readings += asked == key

        world.store.before = count
        begun = world.clock.monotonic()
        with pytest.raises(CorruptSegment, match=shard):
            await worker.log_store.head(shard, 0)
        assert readings == len(PAUSES_S) + 1
        assert world.clock.monotonic() - begun >= sum(PAUSES_S) > 60

    vtime.run(scenario())
