"""Documents of the log store that are damaged."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from simulation.memstore import MemoryStore
from simulation.vtime import VirtualClock
from vortex.core.log.rules import BrokenLog, RootStart, StreamState
from vortex.core.model import Position, ShardInfo, Start
from vortex.log.store import LogStore
from vortex.retry import Once


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"stream": 5}', b"\xff\xfe", b"<html>"])
@pytest.mark.parametrize(
    ("key", "read"),
    [
        ("r/stream.json", lambda log_store: log_store.state()),
        ("r/plans/0000000007/plan.json", lambda log_store: log_store.plan(7)),
        ("r/plans/0000000007/done.json", lambda log_store: log_store.done(7)),
        ("r/plans/0000000007/done-1.json", lambda log_store: log_store.range_done(7, 1)),
    ],
)
async def test_log_store_raises_broken_log_with_the_key_of_a_damaged_document(
    key: str, read: Callable[[LogStore], object], body: bytes
) -> None:
    store = MemoryStore(VirtualClock())
    await store.put_if_absent(key, body)
    with pytest.raises(BrokenLog, match=f"^{key}: is damaged, or was written by something else"):
        await read(LogStore(store, "r", Once()))  # type: ignore[misc]


async def test_log_store_reads_a_document_again_when_it_was_damaged_in_transit() -> None:
    store = MemoryStore(VirtualClock())
    await store.put_if_absent("r/stream.json", b"<html>")

    async def mend(operation: str, key: str) -> None:
        asked.append(key)
        if len(asked) == 3:
            store.objects[key] = msgspec.json.encode(
                StreamState(stream="s", arn="a", created=0, roots=(root,), closed_before=0, first_hour=0, seed=1)
            )

    asked: list[str] = []
    root = RootStart(ShardInfo("shard"), Position(Start.TRIM_HORIZON))
    store.before = mend
    found = await LogStore(store, "r", Once()).state()
    assert found is not None
    assert found.stream == "s"
