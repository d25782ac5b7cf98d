"""The grid of hours: what the store says of each."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from vortex.core.layout import hour_manifest_key
from vortex.core.model import HOUR_MS
from vortex.ports import Unavailable
from vortex.runtime.hours_seen import HoursSeen

FIRST = 1_764_428_400_000 - 1_764_428_400_000 % HOUR_MS
DUE_MS = 600_000


def manifest(rows: int) -> bytes:
    return json.dumps({"totals": {"rows": rows}}).encode()


def test_hours_are_closed_or_empty_by_their_manifests_and_late_when_one_is_due() -> None:
    async def scenario() -> None:
        store = MemoryStore(vtime.VirtualClock())
        for hour, rows in ((0, 12), (1, 0)):
            await store.put_if_absent(hour_manifest_key(FIRST + hour * HOUR_MS), manifest(rows))
        seen = HoursSeen(store, FIRST, DUE_MS)
        now = FIRST + 4 * HOUR_MS + 5 * 60_000
        await seen.look(now)
        assert [(hour - FIRST, state, rows) for hour, state, rows in seen.rows(now)] == [
            (0, "closed", 12),
            (HOUR_MS, "empty", 0),
            (2 * HOUR_MS, "late", None),
            (3 * HOUR_MS, "open", None),
            (4 * HOUR_MS, "open", None),
        ]
        assert len(seen.rows(now + 100 * HOUR_MS)) == 48

    vtime.run(scenario())


@pytest.mark.parametrize("fault", ["unavailable", "nonsense"])
def test_hours_are_asked_for_again_when_the_store_does_not_answer(fault: str) -> None:
    """And closed ones are not read again."""

    class Store:
        asked, down = 0, True

        async def get(self, key: str) -> bytes:
            self.asked += 1
            if self.down and fault == "unavailable":
                raise Unavailable("no way there")
            return b"[]" if self.down else manifest(3)

    async def scenario() -> None:
        store = Store()
        seen = HoursSeen(cast(Any, store), FIRST, DUE_MS)
        now = FIRST + 3 * HOUR_MS
        await seen.look(now)
        assert store.asked == 1
        assert {state for _, state, _ in seen.rows(now)} == {"late", "open"}
        store.down = False
        for _ in range(3):
            await seen.look(now)
        assert store.asked == 4
        assert [state for _, state, _ in seen.rows(now)] == ["closed", "closed", "closed", "open"]

    vtime.run(scenario())
