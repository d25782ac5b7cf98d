"""The grid of hours: what the store says of each."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from vortex.core.layout import hour_manifest_key
from vortex.core.log.rules import StreamState
from vortex.core.model import HOUR_MS
from vortex.core.publish.contents import Done, hour_documents
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

        async def get_range(self, key: str, offset: int, length: int) -> bytes:
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


def test_hours_are_known_from_the_begin_of_a_manifest_however_many_partitions_it_names() -> None:
    """With bundles it may have hundreds of megabytes, and every worker looks at 48 of them at its start."""
    folder = "customer=c/event_type=t/date=1970-01-01/hour=00"
    row = {"period": FIRST, "customer": "c", "event_type": "t", "rejected": False, "digest": ""}
    sizes = {"rows": 2**40, "bytes": 2**40, "raw": 2**50}
    objects = [{"key": f"{folder}/{at:06d}.json.gz", "folder": f"{folder}-{at}", **row, **sizes} for at in range(200)]
    counts = dict.fromkeys(("events", "accepted", "published", "dropped", "filtered"), 2**50)
    document = msgspec.convert(
        {"k": 0, "after": FIRST, "upto": FIRST + HOUR_MS, "objects": objects, "periods": {FIRST: counts}, "totals": {}}
        | {"decided": []},
        Done,
    )
    state = StreamState(
        stream="n" * 128, arn="", created=0, roots=(), closed_before=FIRST, first_hour=FIRST, seed=0
    )  # the longest name
    _, (key, body) = hour_documents(state, FIRST, [document], "s3://b/p")

    class Store(MemoryStore):
        async def get(self, key: str) -> bytes:
            raise AssertionError("the whole manifest is read")

    async def scenario() -> None:
        store = Store(vtime.VirtualClock())
        store.put_now(key, body)
        seen = HoursSeen(store, FIRST, DUE_MS)
        await seen.look(FIRST + HOUR_MS)
        assert seen.rows(FIRST + HOUR_MS)[0] == (FIRST, "closed", 200 * 2**40)
        assert len(body) > 20_000

    vtime.run(scenario())
