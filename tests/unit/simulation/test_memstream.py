"""The in-memory Kinesis has the limits and quirks of the service, under a clock that the test advances."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5
from random import Random

import pytest

from simulation.memstream import TRIMMED_BEHIND_MS, MemoryStream
from tests.unit.simulation.memstreams import FIRST, HORIZON, ManualClock, begin, drain
from vortex.core.model import HASH_KEYS, Page, Position, Start
from vortex.ports import Denied, InvalidPosition, IteratorExpired, NotFound, Unavailable

DAY_S = 86_400


async def test_read_raises_assertion_error_for_an_iterator_of_another_shard(clock: ManualClock) -> None:
    stream = MemoryStream(clock, shards=2)
    with pytest.raises(AssertionError):
        await stream.read("shardId-000000000001", await begin(stream))


async def test_read_returns_only_empty_pages_from_a_trimmed_position(clock: ManualClock) -> None:
    stream = MemoryStream(clock, retention_ms=3_600_000)
    _, first = stream.put("key", b"one")
    stream.put("key", b"two")
    clock.seconds += 3_601
    stream.put("key", b"three")
    token = await begin(stream, Position(Start.AFTER_SEQUENCE_NUMBER, first))
    for _ in range(20):
        page = await stream.read(FIRST, token)
        assert (page.records, page.behind_ms, page.children) == ([], TRIMMED_BEHIND_MS, ())
        assert page.iterator is not None
        token = page.iterator
        clock.seconds += 1
    assert [record.data for record in await drain(stream, clock)] == [b"three"]


async def test_read_continues_after_the_last_trimmed_record(clock: ManualClock) -> None:
    stream = MemoryStream(clock, retention_ms=3_600_000)
    _, first = stream.put("key", b"one")
    clock.seconds += 3_601
    stream.put("key", b"two")
    page = await stream.read(FIRST, await begin(stream, Position(Start.AFTER_SEQUENCE_NUMBER, first)))
    assert [record.data for record in page.records] == [b"two"]


async def test_list_shards_omits_a_closed_shard_after_the_retention(stream: MemoryStream, clock: ManualClock) -> None:
    stream.put("key", b"one")
    stream.split(FIRST, HASH_KEYS // 2)
    clock.seconds += DAY_S
    token = await begin(stream)
    assert FIRST in [info.id for info in await stream.list_shards()]
    clock.seconds += 1
    assert [info.parents for info in await stream.list_shards()] == [(FIRST,), (FIRST,)]
    with pytest.raises(NotFound):
        await stream.iterator(FIRST, HORIZON)
    with pytest.raises(IteratorExpired):
        await stream.read(FIRST, token)
    assert len(stream.shards()) == 3


async def test_records_are_trimmed_while_a_shard_is_read(clock: ManualClock) -> None:
    """A reader that was at the horizon falls behind it."""
    stream = MemoryStream(clock, retention_ms=60_000, page_records=1)
    for _ in range(3):
        stream.put("key", b"x")
    page = await stream.read(FIRST, await begin(stream))
    clock.seconds += 61
    assert page.iterator is not None
    assert (await stream.read(FIRST, page.iterator)).behind_ms == TRIMMED_BEHIND_MS


async def test_iterator_refuses_the_ending_number_of_a_closed_shard(stream: MemoryStream) -> None:
    _, last = stream.put("key", b"one")
    stream.split(FIRST, 1)
    ending = stream.shards()[0].end_sequence
    assert ending is not None
    for kind in (Start.AFTER_SEQUENCE_NUMBER, Start.AT_SEQUENCE_NUMBER):
        with pytest.raises(InvalidPosition):
            await stream.iterator(FIRST, Position(kind, ending))
    page = await stream.read(FIRST, await begin(stream, Position(Start.AFTER_SEQUENCE_NUMBER, last)))
    assert (page.records, page.iterator, len(page.children)) == ([], None, 2)


@pytest.mark.parametrize("value", ["", "x", "-5", "0", "99999999"])
async def test_iterator_refuses_numbers_of_other_shards(stream: MemoryStream, value: str) -> None:
    with pytest.raises(InvalidPosition):
        await stream.iterator(FIRST, Position(Start.AFTER_SEQUENCE_NUMBER, value))


async def test_iterator_refuses_a_future_time(stream: MemoryStream, clock: ManualClock) -> None:
    with pytest.raises(InvalidPosition):
        await stream.iterator(FIRST, Position(Start.AT_TIMESTAMP, str(clock.now_ms() + 1)))


async def test_merge_returns_a_child_with_both_parents(clock: ManualClock) -> None:
    stream = MemoryStream(clock, shards=2)
    child = stream.merge("shardId-000000000001", FIRST)
    for shard in (FIRST, "shardId-000000000001"):
        page = await stream.read(shard, await begin(stream, shard=shard))
        assert page.iterator is None
        assert [info.id for info in page.children] == [child]
        assert set(page.children[0].parents) == {FIRST, "shardId-000000000001"}
        assert (page.children[0].start_hash, page.children[0].end_hash) == (0, HASH_KEYS - 1)


async def test_put_routes_by_the_md5_of_the_key_or_the_explicit_hash(clock: ManualClock) -> None:
    stream = MemoryStream(clock, shards=3)
    for key in map(str, range(100)):
        shard, _ = stream.put(key, b"")
        hashed = int(md5(key.encode()).hexdigest(), 16)
        assert [info.id for info in stream.shards() if info.start_hash <= hashed <= info.end_hash] == [shard]
    assert stream.put("key", b"", explicit_hash=0)[0] == FIRST
    assert stream.put("key", b"", explicit_hash=HASH_KEYS - 1)[0] == "shardId-000000000002"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda stream: stream.split(FIRST, 0),
        lambda stream: stream.split("shardId-000000000001", 5),
        lambda stream: stream.merge(FIRST, "shardId-000000000002"),
        lambda stream: (stream.merge(FIRST, "shardId-000000000001"), stream.split(FIRST, 5)),
    ],
)
def test_split_and_merge_raise_value_error_when_impossible(
    clock: ManualClock, wrong: Callable[[MemoryStream], object]
) -> None:
    with pytest.raises(ValueError, match="shardId"):
        wrong(MemoryStream(clock, shards=3))


async def test_sequence_numbers_increase_over_the_whole_stream_and_gain_a_digit(
    stream: MemoryStream, clock: ManualClock
) -> None:
    numbers = [int(stream.put(str(i), b"")[1]) for i in range(30)]
    stream.split(FIRST, HASH_KEYS // 2)
    numbers += [int(stream.put(str(i), b"")[1]) for i in range(30)]
    assert numbers == sorted(set(numbers))
    assert len({len(str(number)) for number in numbers}) == 2
    assert [record.sequence for record in await drain(stream, clock)] == [str(number) for number in numbers[:30]]


async def test_put_accepts_arrival_times_that_go_back(stream: MemoryStream, clock: ManualClock) -> None:
    for arrival in (5_000, 1_000, 3_500):
        stream.put("key", b"", arrival_ms=arrival)
    assert [record.arrival for record in await drain(stream, clock)] == [5.0, 1.0, 3.5]
    clock.seconds += 1
    page = await stream.read(FIRST, await begin(stream, Position(Start.AT_TIMESTAMP, "3000")))
    assert len(page.records) == 3  # starts at the first record that is late enough


async def test_read_returns_the_age_of_the_unread_records_as_lag(clock: ManualClock) -> None:
    stream = MemoryStream(clock, page_records=1)
    stream.put("key", b"one")
    clock.seconds += 2
    stream.put("key", b"two")
    clock.seconds += 3
    page = await stream.read(FIRST, await begin(stream))
    assert page.behind_ms == 3000
    assert page.iterator is not None
    assert (await stream.read(FIRST, page.iterator)).behind_ms == 0
    assert page.server_ms % 1000 == 0
    assert 0 <= clock.now_ms() - page.server_ms < 1000


async def irregular_run(seed: int) -> tuple[list[Page], list[bytes]]:
    clock = ManualClock()
    stream = MemoryStream(clock, random=Random(seed), irregular=0.7, page_records=20)
    for i in range(100):
        stream.put(str(i), str(i).encode())
    clock.seconds += 1
    stream.split(FIRST, 7)
    token: str | None = await begin(stream)
    pages = []
    while token is not None:
        page = await stream.read(FIRST, token)
        pages.append(page)
        token = page.iterator
        clock.seconds += 0.2
    return pages, [record.data for page in pages for record in page.records]


@pytest.mark.parametrize("seed", range(10))
async def test_irregular_stream_returns_all_records_in_the_end(seed: int) -> None:
    pages, found = await irregular_run(seed)
    assert found == [str(i).encode() for i in range(100)]
    assert any(not page.records and page.behind_ms > 0 for page in pages)
    assert len(pages[-1].children) == 2
    assert await irregular_run(seed) == (pages, found)


async def test_irregular_stream_can_report_a_lag_when_idle_and_end_with_records() -> None:
    stream = MemoryStream(ManualClock(), limits=False, irregular=0.5)
    token = await begin(stream)
    lags = {(await stream.read(FIRST, token)).behind_ms > 0 for _ in range(50)}
    assert lags == {True, False}
    ends = {bool((await irregular_run(seed))[0][-1].records) for seed in range(20)}
    assert ends == {True, False}


async def test_iterator_returns_none_for_a_closed_shard_without_further_records(stream: MemoryStream) -> None:
    stream.null_iterators = True
    _, last = stream.put("key", b"")
    after = Position(Start.AFTER_SEQUENCE_NUMBER, last)
    assert await stream.iterator(FIRST, after) is not None
    stream.split(FIRST, 9)
    assert await stream.iterator(FIRST, after) is None
    assert await stream.iterator(FIRST, HORIZON) is not None


async def test_stale_list_shows_a_closed_parent_as_open(stream: MemoryStream) -> None:
    stream.split(FIRST, 9)
    assert [info.end_sequence is None for info in await stream.list_shards()] == [False, True, True]
    stream.stale_list = True
    assert [info.end_sequence is None for info in await stream.list_shards()] == [True, True, True]


async def test_recreate_starts_a_new_stream_and_invalidates_iterators(stream: MemoryStream, clock: ManualClock) -> None:
    before = await stream.describe()
    stream.put("key", b"")
    token = await begin(stream)
    first = stream.shards()
    stream.delete()
    for call in (stream.describe(), stream.server_time(), stream.list_shards(), stream.read(FIRST, token)):
        with pytest.raises(Denied, match="events"):
            await call
    with pytest.raises(Denied, match="events"):
        await stream.iterator(FIRST, HORIZON)
    clock.seconds += 5
    stream.recreate(2)
    assert (await stream.describe()).created_ms == before.created_ms + 5000
    assert [info.id for info in stream.shards()][:1] == [info.id for info in first]
    with pytest.raises(IteratorExpired):
        await stream.read(FIRST, token)
    assert await drain(stream, clock) == []


async def test_server_time_follows_the_skew(stream: MemoryStream, clock: ManualClock) -> None:
    stream.skew_ms = 600_000
    assert await stream.server_time() == (clock.now_ms() + 600_000) // 1000 * 1000


async def test_views_have_separate_faults_and_callers(stream: MemoryStream) -> None:
    seen: list[tuple[str, str]] = []

    async def refuse(operation: str, shard: str) -> None:
        seen.append((operation, shard))
        if operation == "read":
            raise Unavailable("injected")

    one, two = stream.seen_by("one", refuse), stream.seen_by("two")
    token = await one.iterator(FIRST, HORIZON)
    assert token is not None
    with pytest.raises(Unavailable, match="injected"):
        await one.read(FIRST, token)
    await two.read(FIRST, token)
    await one.describe()
    await one.server_time()
    assert len(await one.list_shards()) == 1
    assert seen == [("iterator", FIRST), ("read", FIRST), ("describe", ""), ("server_time", ""), ("list_shards", "")]
    assert [(call.operation, call.caller) for call in stream.calls[FIRST]] == [("iterator", "one"), ("read", "two")]


async def test_puts_and_records_keep_their_history(stream: MemoryStream, clock: ManualClock) -> None:
    shard, sequence = stream.put("key", b"data", arrival_ms=7)
    assert stream.puts == [(shard, sequence, "key", 7, b"data")]
    clock.seconds += 2 * DAY_S
    assert [record.data for record in stream.records(shard)] == [b"data"]
