"""A store with published objects, and its verification."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from simulation.memstore import MemoryStore
from tests.loops import MINUTE, World
from vortex.ports import NotFound
from vortex.verify.report import Report
from vortex.verify.store import verify_store

CUSTOMERS = 40


async def published(wait_s: float = 600, there: Mapping[str, bytes] | None = None, **options: Any) -> World:
    """A store with objects of many customers, each in one shard, with every segment still stored.

    `wait_s`: how long the worker runs after the last event. After an hour the hour of the first ones is closed.
    `there`: objects that exist before.
    """
    world = World(period_ms=MINUTE, keep_ms=10**9, **options)
    for key, body in (there or {}).items():
        world.store.put_now(key, body)
    worker = await world.begin()
    for number in range(300):
        event = {"c": f"customer-{number % CUSTOMERS}", "t": "view", "id": f"id{number}"}
        world.stream.put(event["c"], json.dumps(event).encode())
        await world.clock.sleep(0.5)
    await world.clock.sleep(wait_s)
    await worker.kill()
    return world


def faults(report: Report, key: str) -> list[str]:
    """The faults of one key."""
    return [fault.what for fault in report.faults if fault.key == key]


async def verified_with_counts(world: World, gone: tuple[str, int] | None = None) -> tuple[Report, Counter[str]]:
    """The report, and how often each key was read; `gone`: a key that is missing from the given read on."""
    asked: Counter[str] = Counter()

    async def count(operation: str, key: str) -> None:
        asked[key] += operation == "get"
        if gone is not None and key == gone[0] and asked[key] >= gone[1]:
            raise NotFound(f"{key}: cleaned up")

    seen = MemoryStore(world.clock, count)
    vars(seen).update({name: part for name, part in vars(world.store).items() if name != "before"})
    return await verify_store(seen), asked
