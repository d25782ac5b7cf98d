"""Closing hours: the counts in their manifests."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from simulation import vtime
from tests.loops import World
from vortex import metrics


def test_events_without_a_time_are_counted_as_untimed_in_metrics_and_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once."""
    counted: Counter[str] = Counter()

    def add(self: vtime.NullMeter, metric: metrics.CounterMetric, number: float = 1, **labels: str) -> None:
        if metric is metrics.EVENTS:
            counted[labels["outcome"]] += int(number)

    monkeypatch.setattr(vtime.NullMeter, "add", add)

    async def scenario() -> None:
        world = World()
        worker = await world.begin()
        for number in range(30):
            timed = {"at": world.clock.now_ms()} if number % 3 == 0 else {"at": "n/a"} if number % 3 == 1 else {}
            event = {"c": "a", "t": "v", "id": f"id{number}", **timed}
            world.stream.put("k", json.dumps(event).encode())
            await world.clock.sleep(60)
        await world.clock.sleep(2 * 3600)
        await worker.kill()
        counts = [json.loads(world.store.objects[key])["counts"] for key in world.store.objects if "_hours/" in key]
        assert sum(each["untimed"] for each in counts) == counted["untimed"] == 20
        assert sum(each["accepted"] for each in counts) == counted["accepted"] == 30

    vtime.run(scenario())
