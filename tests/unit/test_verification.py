"""The proof of published objects against the segments that they are made of, and what it takes to read them."""

from __future__ import annotations

import gzip
import json
from collections import Counter

from tests.unit.test_loops import MINUTE, World
from vortex.proof import Report
from vortex.testing import vtime
from vortex.testing.memstore import MemoryStore
from vortex.verification import verify_store

CUSTOMERS = 40


async def published() -> World:
    """A store with objects of many customers, of which every segment is still there."""
    world = World(period_ms=MINUTE, keep_ms=10**9)
    worker = await world.begin()
    for number in range(300):
        event = {"c": f"customer-{number % CUSTOMERS}", "t": "view", "id": f"id{number}"}
        world.stream.put(event["id"], json.dumps(event).encode())
        await world.clock.sleep(0.5)
    await world.clock.sleep(600)
    await worker.kill()
    return world


def faults(report: Report, key: str) -> list[str]:
    """What is wrong with one key."""
    return [fault.what for fault in report.faults if fault.key == key]


def test_neighbours_of_a_segment_are_read_together() -> None:
    """A segment is asked for what is in it, and once for the objects of each plan, however many there are."""

    async def scenario() -> None:
        world = await published()
        asked: Counter[str] = Counter()

        async def count(operation: str, key: str) -> None:
            asked[key] += operation == "get"

        seen = MemoryStore(world.clock, count)
        vars(seen).update({name: part for name, part in vars(world.store).items() if name != "before"})
        report = await verify_store(seen)
        assert report.faults == []
        assert report.checked["objects"] >= 2 * CUSTOMERS
        segments = [key for key in asked if key.endswith(".seg") and asked[key]]
        assert len(segments) > 3
        assert max(asked[key] for key in segments) <= 6, "footer, data, ids twice, two plans at the border of a period"

    vtime.run(scenario())


def test_other_lines_than_the_segments_have_are_found() -> None:
    """As many, and as long: the digest that was published tells, and so do the segments."""

    async def scenario() -> None:
        world = await published()
        key = next(key for key in sorted(world.store.objects) if key.startswith("c="))
        lines = gzip.decompress(world.store.objects[key])
        world.store.objects[key] = gzip.compress(lines.replace(b'"view"', b'"vieW"'))
        report = await verify_store(world.store)
        assert [fault.key for fault in report.faults] == [key] * 2
        assert faults(report, key) == [
            "its bytes have changed since it was published",
            "its lines are not those of the segments it is made of",
        ]

    vtime.run(scenario())
