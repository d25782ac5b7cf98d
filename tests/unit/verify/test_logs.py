"""Logs: each byte is checked, and indexes are kept only as far as memory allows."""

from __future__ import annotations

import pytest

from simulation import vtime
from tests.published_store import published
from vortex.verify import logs
from vortex.verify.store import verify_store


@pytest.mark.parametrize("room", [0, 1 << 30])
def test_verify_finds_the_same_whether_indexes_are_kept_or_read_again(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_INDEX_BYTES", room)

    async def scenario() -> None:
        world = await published()
        report = await verify_store(world.store)
        assert report.faults == []
        assert report.checked["plans decided again"] == 3
        key = next(key for key in sorted(world.store.objects) if key.startswith("c=customer-7/"))
        world.store.delete_now(key)
        assert [fault.key for fault in (await verify_store(world.store)).faults] == [key]

    vtime.run(scenario())
