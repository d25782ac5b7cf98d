"""The log store: documents that are damaged, and how often it asks."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from simulation.memstore import MemoryStore
from simulation.vtime import VirtualClock
from vortex.core.log.lines import LineTable
from vortex.core.log.rules import BrokenLog, RootStart, SegmentRef, StreamState, log_start, segment_key
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Folder, empty_footer, folder_hash
from vortex.core.model import Position, ShardInfo, Start
from vortex.log.store import LogStore
from vortex.publish.known_logs import Indexes
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


def log_of(rows: list[int], closed_before: list[int] | None = None) -> tuple[LogStore, list[str]]:
    """The log of shard "s" with a segment of so many rows each; and the segments that the store is asked for."""
    closed = closed_before or [0] * len(rows)
    asked: list[str] = []

    async def note(operation: str, key: str) -> None:
        if operation != "list":
            asked.append(f"{operation} {int(key.rpartition('/')[2].removesuffix('.seg'))}")

    store, before = MemoryStore(VirtualClock()), log_start("s")
    for n, count in enumerate(rows):
        at, cell = Position(Start.TRIM_HORIZON), Cell(Folder("f", folder_hash("f")), 0)
        footer = empty_footer(
            "s", n, before.digest, owner="me", created=0, position=at, watermark=closed[n], closed_before=closed[n]
        )
        made = seal(footer, [cell], LineTable.of([[b"x"] * count]), ids_of(count))
        store.objects[segment_key("r", "s", n)] = made.body
        before = SegmentRef("s", n, made.digest)
    store.before = note
    return LogStore(store, "r", Once()), asked


def ids_of(rows: int) -> bytes:
    """So many different ids."""
    return b"".join(b"%016d" % row for row in range(rows))


async def test_ids_of_a_small_segment_take_no_request_of_their_own() -> None:
    log_store, asked = log_of([10])
    (head,) = await log_store.follow(log_start("s"), lambda head: head)
    assert await log_store.ids(head) == ids_of(10)
    assert asked == ["get 0", "get 1"]


async def test_ids_are_read_when_the_end_of_the_segment_does_not_hold_all_of_them() -> None:
    log_store, asked = log_of([5000])  # 80 KB of ids, and 64 KiB are read of the end
    (head,) = await log_store.follow(log_start("s"), lambda head: head)
    assert await log_store.ids(head) == ids_of(5000)
    assert asked == ["get 0", "get 1", "get 0"]


async def test_headers_hold_no_ids_unless_the_caller_counts_them() -> None:
    """Verify, status and lookups keep thousands of headers."""
    log_store, _ = log_of([10, 10])
    headers = [await log_store.head("s", 0), *await log_store.follow(log_start("s"))]
    assert [head.ids for head in headers] == [None] * 3


async def test_follow_drops_ids_before_it_reads_on_when_there_is_no_memory_for_them() -> None:
    log_store, _ = log_of([10] * 5)
    room = Indexes(most=500)
    headers = await log_store.follow(log_start("s"), room.kept)
    assert [head.ids is not None for head in headers] == [True, True, False, False, False]
    assert room.held <= room.most


async def test_follow_asks_for_one_segment_too_many_when_it_finds_one() -> None:
    log_store, asked = log_of([10])
    assert [head.n for head in await log_store.follow(log_start("s"))] == [0]
    assert asked == ["get 0", "get 1"]


async def test_follow_takes_few_rounds_when_it_finds_many_segments() -> None:
    log_store, asked = log_of([10] * 40)
    assert [head.n for head in await log_store.follow(log_start("s"))] == list(range(40))
    assert len(asked) == 43  # one at a time up to 8 found, then two, three and so on


async def test_follow_asks_for_no_missing_segment_when_it_finds_one_that_is_closed_far_enough() -> None:
    log_store, asked = log_of([10] * 4, closed_before=[100, 200, 300, 400])
    found = await log_store.follow(log_start("s"), upto=300)
    assert [head.n for head in found] == [0, 1, 2]
    assert asked == ["get 0", "get 1", "get 2"]
    assert [head.n for head in await log_store.follow(found[-1], upto=401)] == [3]
    assert asked[3:] == ["get 3", "get 4"]
