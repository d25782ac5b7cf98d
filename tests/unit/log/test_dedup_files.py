"""Decision files and exchanged ids: each is written once, and clean-up finds both."""

from __future__ import annotations

import numpy as np
import pytest

from simulation.memstore import MemoryStore
from simulation.vtime import VirtualClock
from tests.unit.core.dedup.test_resolve import rows_of, table_of
from vortex.core.dedup.decided import encode
from vortex.core.dedup.rows import PlanRuns
from vortex.core.log.trailer import CorruptSegment
from vortex.log.dedup_files import DedupFiles
from vortex.ports import NotFound
from vortex.retry import Once


def files_of(store: MemoryStore) -> DedupFiles:
    return DedupFiles(store, "r", Once())


async def test_decision_is_written_once_and_another_one_is_refused() -> None:
    files = files_of(MemoryStore(VirtualClock(0)))
    assert not await files.has_decided(3, 1)
    assert await files.put_decided(3, 1, b"first")
    assert await files.has_decided(3, 1)
    assert await files.put_decided(3, 1, b"first"), "the same again, as after a lost reply"
    assert not await files.put_decided(3, 1, b"other")
    assert await files.store.get("r/dedup/0000000003-1") == b"first"


async def test_decision_of_another_plan_under_the_key_is_corrupt() -> None:
    store = MemoryStore(VirtualClock(0))
    files = files_of(store)
    rows, runs = rows_of([(1, 2)], [0]), PlanRuns(["shard"], table_of([(0, 5)]), [], [])
    body = encode(4, 0, 1, runs, rows, np.zeros(1, dtype=np.bool_))
    store.objects[files.decided_key(4, 0)] = store.objects[files.decided_key(5, 0)] = body
    assert (await files.decided(4, 0)).k == 4
    with pytest.raises(CorruptSegment, match="r/dedup/0000000005-0: says that it is part 0 of plan 4"):
        await files.decided(5, 0)
    with pytest.raises(NotFound):
        await files.decided(6, 0)


async def test_ids_of_a_group_are_written_once() -> None:
    files = files_of(MemoryStore(VirtualClock(0)))
    assert not await files.has_group(3, 1)
    await files.put_group(3, 1, b"first")
    await files.put_group(3, 1, b"other")
    assert await files.has_group(3, 1)
    assert not await files.has_decided(3, 1)
    assert await files.store.get("r/dedup/0000000003-1-ids") == b"first"


async def test_clean_up_finds_old_decisions_and_the_ids_of_plans_that_are_done() -> None:
    clock = VirtualClock(0)
    files = files_of(MemoryStore(clock))
    for k in (2, 3, 4):
        await files.put_decided(k, 0, b"old")
    now = clock.now_ms()
    clock.epoch_ms += 3_600_000
    await files.put_decided(2, 1, b"new")
    for k in (2, 3, 4):
        await files.put_group(k, 0, b"new")
    found = await files.decided_before(3, now + 60_000, 4)
    assert found == ["r/dedup/0000000002-0", "r/dedup/0000000002-0-ids", "r/dedup/0000000003-0-ids"]
