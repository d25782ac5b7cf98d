"""The in-memory Kinesis keeps the service's limits and oddities, under a clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5
from random import Random

import pytest

from simulation.memstream import HASH_KEYS, PAGE_BYTES, TRIMMED_BEHIND_MS, MemoryStream
from vortex.core.model import Page, Position, Record, Start
from vortex.ports import Denied, InvalidPosition, IteratorExpired, NotFound, Unavailable

HORIZON = Position(Start.TRIM_HORIZON)
FIRST = "shardId-000000000000"
MIB = 1 << 20
DAY_S = 86_400


class ManualClock:
    """A `ports.Clock` that stands still until told."""

    def __init__(self) -> None:
        self.seconds = 1_545_000_000.25

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def stream(clock: ManualClock) -> MemoryStream:
    return MemoryStream(clock)


async def begin(stream: MemoryStream, position: Position = HORIZON, shard: str = FIRST) -> str:
    token = await stream.iterator(shard, position)
    assert token is not None
    return token


async def drain(stream: MemoryStream, clock: ManualClock, shard: str = FIRST, calls: int = 1000) -> list[Record]:
    """Everything from the horizon to the tip or the end."""
    token: str | None = await begin(stream, shard=shard)
    found: list[Record] = []
    for _ in range(calls):
        assert token is not None
        page = await stream.read(shard, token)
        found += page.records
        token = page.iterator
        if token is None or (page.behind_ms == 0 and not page.records):
            break
        clock.seconds += 0.2
    return found


async def throttled(stream: MemoryStream, token: str) -> bool:
    try:
        await stream.read(FIRST, token)
    except Unavailable as error:
        assert error.cause == "throttled"
        return True
    return False


async def test_five_reads_a_second(stream: MemoryStream, clock: ManualClock) -> None:
    token = await begin(stream)
    assert [await throttled(stream, token) for _ in range(6)] == [False] * 5 + [True]
    clock.seconds += 0.9
    assert await throttled(stream, token)
    clock.seconds += 0.1
    assert not await throttled(stream, token)


async def test_an_even_pace_of_five_a_second_is_never_throttled(stream: MemoryStream, clock: ManualClock) -> None:
    token = await begin(stream)
    for _ in range(200):
        assert not await throttled(stream, token)
        clock.seconds += 0.2


async def test_five_iterators_a_second(stream: MemoryStream, clock: ManualClock) -> None:
    for _ in range(5):
        await stream.iterator(FIRST, HORIZON)
    with pytest.raises(Unavailable) as refused:
        await stream.iterator(FIRST, HORIZON)
    assert refused.value.cause == "throttled"
    clock.seconds += 1
    await stream.iterator(FIRST, HORIZON)


async def test_shards_have_limits_of_their_own(clock: ManualClock) -> None:
    stream = MemoryStream(clock, shards=2)
    tokens = [(info.id, await begin(stream, shard=info.id)) for info in stream.shards()]
    for _ in range(5):
        for shard, token in tokens:
            await stream.read(shard, token)


async def test_without_limits_nothing_is_throttled(clock: ManualClock) -> None:
    stream = MemoryStream(clock, limits=False)
    token = await begin(stream)
    assert not any([await throttled(stream, token) for _ in range(50)])


async def test_two_mebibytes_a_second(stream: MemoryStream, clock: ManualClock) -> None:
    for _ in range(4):
        stream.put("key", bytes(MIB))
    token = await begin(stream)
    assert not await throttled(stream, token)  # 4 MiB: two seconds' worth
    clock.seconds += 0.9
    assert await throttled(stream, token)
    clock.seconds += 0.2
    assert not await throttled(stream, token)


async def test_a_full_page_costs_five_seconds(stream: MemoryStream, clock: ManualClock) -> None:
    for _ in range(11):
        stream.put("key", bytes(MIB))
    token = await begin(stream)
    page = await stream.read(FIRST, token)
    assert (len(page.records), page.size) == (10, PAGE_BYTES)
    assert page.behind_ms > 0
    assert page.iterator is not None
    clock.seconds += 4.9
    assert await throttled(stream, page.iterator)
    clock.seconds += 0.1
    assert len((await stream.read(FIRST, page.iterator)).records) == 1


async def test_a_page_cut_by_size_loses_nothing(stream: MemoryStream, clock: ManualClock) -> None:
    sizes = [9 * MIB, 2 * MIB, 10 * MIB, 1, 0]
    for size in sizes:
        stream.put("key", bytes(size))
    token = await begin(stream)
    pages: list[list[int]] = []
    for _ in range(3):
        page = await stream.read(FIRST, token)
        pages.append([len(record.data) for record in page.records])
        assert page.iterator is not None
        token = page.iterator
        clock.seconds += 6
    assert pages == [[9 * MIB], [2 * MIB], [10 * MIB]]
    assert [len(record.data) for record in (await stream.read(FIRST, token)).records] == [1, 0]


async def test_ten_thousand_records_a_page(stream: MemoryStream) -> None:
    for _ in range(10_001):
        stream.put("key", b"")
    page = await stream.read(FIRST, await begin(stream))
    assert len(page.records) == 10_000
    assert page.iterator is not None
    assert len((await stream.read(FIRST, page.iterator)).records) == 1


async def test_an_iterator_lives_five_minutes(stream: MemoryStream, clock: ManualClock) -> None:
    token = await begin(stream)
    clock.seconds += 300
    page = await stream.read(FIRST, token)
    clock.seconds += 1
    with pytest.raises(IteratorExpired):
        await stream.read(FIRST, token)
    assert page.iterator is not None
    await stream.read(FIRST, page.iterator)  # each page brings a fresh one
    assert [call.outcome for call in stream.calls[FIRST]] == ["ok", "ok", "expired", "ok"]


async def test_an_iterator_of_another_shard_is_a_bug(clock: ManualClock) -> None:
    stream = MemoryStream(clock, shards=2)
    with pytest.raises(AssertionError):
        await stream.read("shardId-000000000001", await begin(stream))


async def test_a_trimmed_position_shows_empty_pages_for_ever(clock: ManualClock) -> None:
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


async def test_a_position_after_the_last_trimmed_record_has_lost_nothing(clock: ManualClock) -> None:
    stream = MemoryStream(clock, retention_ms=3_600_000)
    _, first = stream.put("key", b"one")
    clock.seconds += 3_601
    stream.put("key", b"two")
    page = await stream.read(FIRST, await begin(stream, Position(Start.AFTER_SEQUENCE_NUMBER, first)))
    assert [record.data for record in page.records] == [b"two"]


async def test_a_closed_shard_vanishes_after_the_retention(stream: MemoryStream, clock: ManualClock) -> None:
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


async def test_a_full_shard_trims_while_it_is_read(clock: ManualClock) -> None:
    """A reader that was at the horizon falls behind it like any other."""
    stream = MemoryStream(clock, retention_ms=60_000, page_records=1)
    for _ in range(3):
        stream.put("key", b"x")
    page = await stream.read(FIRST, await begin(stream))
    clock.seconds += 61
    assert page.iterator is not None
    assert (await stream.read(FIRST, page.iterator)).behind_ms == TRIMMED_BEHIND_MS


async def test_the_ending_number_of_a_closed_shard_is_refused(stream: MemoryStream) -> None:
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
async def test_numbers_that_are_not_the_shards(stream: MemoryStream, value: str) -> None:
    with pytest.raises(InvalidPosition):
        await stream.iterator(FIRST, Position(Start.AFTER_SEQUENCE_NUMBER, value))


async def test_a_time_to_come_is_refused(stream: MemoryStream, clock: ManualClock) -> None:
    with pytest.raises(InvalidPosition):
        await stream.iterator(FIRST, Position(Start.AT_TIMESTAMP, str(clock.now_ms() + 1)))


async def test_a_merge_names_both_parents(clock: ManualClock) -> None:
    stream = MemoryStream(clock, shards=2)
    child = stream.merge("shardId-000000000001", FIRST)
    for shard in (FIRST, "shardId-000000000001"):
        page = await stream.read(shard, await begin(stream, shard=shard))
        assert page.iterator is None
        assert [info.id for info in page.children] == [child]
        assert set(page.children[0].parents) == {FIRST, "shardId-000000000001"}
        assert (page.children[0].start_hash, page.children[0].end_hash) == (0, HASH_KEYS - 1)


async def test_hashes_route_as_in_kinesis(clock: ManualClock) -> None:
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
def test_impossible_reshardings(clock: ManualClock, wrong: Callable[[MemoryStream], object]) -> None:
    with pytest.raises(ValueError, match="shardId"):
        wrong(MemoryStream(clock, shards=3))


async def test_numbers_increase_over_the_whole_stream_and_gain_a_digit(
    stream: MemoryStream, clock: ManualClock
) -> None:
    numbers = [int(stream.put(str(i), b"")[1]) for i in range(30)]
    stream.split(FIRST, HASH_KEYS // 2)
    numbers += [int(stream.put(str(i), b"")[1]) for i in range(30)]
    assert numbers == sorted(set(numbers))
    assert len({len(str(number)) for number in numbers}) == 2
    assert [record.sequence for record in await drain(stream, clock)] == [str(number) for number in numbers[:30]]


async def test_arrivals_are_the_callers_and_may_go_back(stream: MemoryStream, clock: ManualClock) -> None:
    for arrival in (5_000, 1_000, 3_500):
        stream.put("key", b"", arrival_ms=arrival)
    assert [record.arrival for record in await drain(stream, clock)] == [5.0, 1.0, 3.5]
    clock.seconds += 1
    page = await stream.read(FIRST, await begin(stream, Position(Start.AT_TIMESTAMP, "3000")))
    assert len(page.records) == 3  # by the first record that is late enough, not by each one's time


async def test_lag_is_the_age_of_what_is_unread(clock: ManualClock) -> None:
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
async def test_an_irregular_stream_tells_all_in_the_end(seed: int) -> None:
    pages, found = await irregular_run(seed)
    assert found == [str(i).encode() for i in range(100)]
    assert any(not page.records and page.behind_ms > 0 for page in pages)
    assert len(pages[-1].children) == 2
    assert await irregular_run(seed) == (pages, found)


async def test_an_irregular_stream_may_claim_a_lag_when_idle_and_may_end_with_records() -> None:
    stream = MemoryStream(ManualClock(), limits=False, irregular=0.5)
    token = await begin(stream)
    lags = {(await stream.read(FIRST, token)).behind_ms > 0 for _ in range(50)}
    assert lags == {True, False}
    ends = {bool((await irregular_run(seed))[0][-1].records) for seed in range(20)}
    assert ends == {True, False}


async def test_null_iterators_for_closed_shards_with_nothing_left(stream: MemoryStream) -> None:
    stream.null_iterators = True
    _, last = stream.put("key", b"")
    after = Position(Start.AFTER_SEQUENCE_NUMBER, last)
    assert await stream.iterator(FIRST, after) is not None
    stream.split(FIRST, 9)
    assert await stream.iterator(FIRST, after) is None
    assert await stream.iterator(FIRST, HORIZON) is not None


async def test_a_stale_list_shows_a_parent_as_open(stream: MemoryStream) -> None:
    stream.split(FIRST, 9)
    assert [info.end_sequence is None for info in await stream.list_shards()] == [False, True, True]
    stream.stale_list = True
    assert [info.end_sequence is None for info in await stream.list_shards()] == [True, True, True]


async def test_delete_and_recreate(stream: MemoryStream, clock: ManualClock) -> None:
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


async def test_the_services_clock_may_differ(stream: MemoryStream, clock: ManualClock) -> None:
    stream.skew_ms = 600_000
    assert await stream.server_time() == (clock.now_ms() + 600_000) // 1000 * 1000


async def test_views_have_faults_and_names_of_their_own(stream: MemoryStream) -> None:
    seen: list[tuple[str, str]] = []

    async def refuse(operation: str, shard: str) -> None:
        seen.append((operation, shard))
        if operation == "read":
            raise Unavailable("unlucky")

    one, two = stream.seen_by("one", refuse), stream.seen_by("two")
    token = await one.iterator(FIRST, HORIZON)
    assert token is not None
    with pytest.raises(Unavailable, match="unlucky"):
        await one.read(FIRST, token)
    await two.read(FIRST, token)
    await one.describe()
    await one.server_time()
    assert len(await one.list_shards()) == 1
    assert seen == [("iterator", FIRST), ("read", FIRST), ("describe", ""), ("server_time", ""), ("list_shards", "")]
    assert [(call.operation, call.caller) for call in stream.calls[FIRST]] == [("iterator", "one"), ("read", "two")]


async def test_the_history_of_puts(stream: MemoryStream, clock: ManualClock) -> None:
    shard, sequence = stream.put("key", b"data", arrival_ms=7)
    assert stream.puts == [(shard, sequence, "key", 7, b"data")]
    clock.seconds += 2 * DAY_S
    assert [record.data for record in stream.records(shard)] == [b"data"]
