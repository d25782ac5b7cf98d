"""Deduplication: deciding by arrays against a loop over rows, the file of decisions, and the bounds of plans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.dedup.decided import Decided, encode, parse, rest_length
from vortex.core.dedup.keys import Keys, bounds_of, joined
from vortex.core.dedup.resolve import Bools, resolve
from vortex.core.dedup.rows import RUN, PlanRuns, Rows, part_of
from vortex.core.log.segment import CorruptSegment, OtherVersion
from vortex.core.publish.bounds import Recent, needed_from, parts_of, resolvers, since
from vortex.core.publish.plan import Plan, read_plan

Key = tuple[int, int]
Came = tuple[int, int]


def runs_of(rng: Random, number: int) -> PlanRuns:
    """Runs in the order in which segments come, with arrival times in any order."""
    table = np.zeros(number, dtype=RUN)
    for at in range(number):
        lo = rng.randrange(1000)
        table[at] = (at % 3, at, 0, lo, lo + rng.randrange(60), 0, 0)
    return PlanRuns(["a", "b", "c"], table, [], [])


def rows_of(rng: Random, runs: PlanRuns, number: int, pool: Sequence[Key]) -> Rows:
    """Sorted rows with keys from the pool."""
    of_run = sorted(rng.randrange(len(runs.table)) for _ in range(number))
    keys = [rng.choice(pool) for _ in range(number)]
    row = [rng.randrange(2**32) for _ in range(number)]
    high, low = (np.array([key[word] for key in keys], dtype=np.uint64) for word in (0, 1))
    return Rows(high, low, np.array(of_run, dtype=np.uint32), np.array(sorted(row), dtype=np.uint32))


def pool_of(rng: Random, number: int) -> list[Key]:
    """Keys, some of which share their first word."""
    keys = [(rng.getrandbits(64), rng.getrandbits(64)) for _ in range(number)]
    return keys + [(high, low ^ 1) for high, low in keys[: number // 4]]


def dropped_by_loop(rows: Rows, runs: PlanRuns, known: Sequence[Keys], window: int) -> list[bool]:
    """The rule, row by row."""
    published: dict[Key, list[Came]] = defaultdict(list)
    for keys in known:
        for high, low, run in zip(keys.high.tolist(), keys.low.tolist(), keys.run.tolist(), strict=True):
            published[high, low].append((int(keys.lo[run]), int(keys.hi[run])))
    dropped = []
    for high, low, run in zip(rows.high.tolist(), rows.low.tolist(), rows.run.tolist(), strict=True):
        lo, hi = int(runs.table["lo"][run]), int(runs.table["hi"][run])
        near = any(lo - b <= window and a - hi <= window for a, b in published[high, low])
        dropped.append(near)
        if not near:
            published[high, low].append((lo, hi))
    return dropped


def keys_of(found: Decided, body: bytes, part: int, parts: int) -> Keys:
    """The keys of a range, read from the buckets that hold it."""
    first, last = found.buckets_of(part, parts)
    offset, length = found.bucket_bytes(first, last)
    return found.keys_in(body[offset : offset + length], first, last).within(part, parts)


def published_keys(rows: Rows, runs: PlanRuns, dropped: Bools) -> Keys:
    """The keys that a plan published, as memory holds them."""
    body = encode(0, 0, 1, runs, rows, dropped)
    found = parse(body, len(body), "x")
    return keys_of(found, body, 0, 1)


def in_plan_order(rows: Rows, dropped: Bools) -> list[bool]:
    """Which rows are dropped, in the order of `rows`; `dropped` is in key order."""
    keys = list(zip(rows.high.tolist(), rows.low.tolist(), strict=True))
    ordered = np.empty(len(dropped), dtype=np.bool_)
    ordered[sorted(range(len(keys)), key=keys.__getitem__)] = dropped
    return ordered.tolist()


@given(st.integers(0, 2**32), st.sampled_from([1, 30, 200, 1500]), st.integers(1, 3))
def test_resolve_drops_the_rows_that_the_rule_drops(seed: int, window: int, plans: int) -> None:
    """Over several plans, with keys that repeat within a plan and later, inside and outside the window."""
    rng = Random(seed)
    pool, known = pool_of(rng, rng.choice((2, 20, 200))), list[Keys]()
    for _ in range(plans):
        runs = runs_of(rng, rng.randint(1, 12))
        rows = rows_of(rng, runs, rng.randint(0, 120), pool)
        by_key = rows.by_key()
        dropped = resolve(by_key, runs.table, known, window)
        assert in_plan_order(rows, dropped) == dropped_by_loop(rows, runs, known, window)
        known.append(published_keys(by_key, runs, dropped))


def test_resolve_takes_no_quadratic_time_when_all_rows_have_one_key() -> None:
    """A constant id by mistake: many rows of few segments, of which the first is published."""
    runs = runs_of(Random(1), 10)
    runs.table["lo"], runs.table["hi"] = 0, 5
    number = 100_000
    same = np.zeros(number, dtype=np.uint64)
    run = np.sort(np.arange(number, dtype=np.uint32) % 10)
    dropped = resolve(Rows(same, same, run, run).by_key(), runs.table, [], 100)
    assert (dropped[0], dropped[1:].all()) == (False, True)


def file_of(rng: Random, part: int = 0, parts: int = 1, number: int = 300) -> tuple[bytes, PlanRuns, Rows, list[bool]]:
    """A file of decisions on a part, its runs, its rows, and which of them are dropped."""
    runs = runs_of(rng, 7)
    rows = rows_of(rng, runs, number, pool_of(rng, max(1, number // 2)))
    rows = rows.by_key()
    rows = rows.between(*bounds_of(rows.high, part, parts))
    dropped = resolve(rows, runs.table, [], 100)
    return encode(5, part, parts, runs, rows, dropped), runs, rows, dropped.tolist()


@given(st.integers(0, 2**32), st.sampled_from([(0, 1), (1, 2), (5, 8)]))
def test_a_decision_file_holds_keys_and_dropped_rows_and_row_counts(seed: int, place: tuple[int, int]) -> None:
    """Keys in any equal range, dropped rows by segment, and the number of rows of each run."""
    body, runs, rows, dropped = file_of(Random(seed), *place)
    found = parse(body[-rest_length(body, "x") :], len(body), "x")
    assert (found.k, found.part, found.parts, found.shards) == (5, *place, runs.shards)
    wanted = sorted(
        (high, low, run)
        for high, low, run, out in zip(rows.high.tolist(), rows.low.tolist(), rows.run.tolist(), dropped, strict=True)
        if not out
    )
    assert found.keys == len(wanted)
    for parts in (place[1], 2 * place[1], 64):
        stored = []
        for part in range(place[0] * parts // place[1], (place[0] + 1) * parts // place[1]):
            keys = keys_of(found, body, part, parts)
            stored += list(zip(keys.high.tolist(), keys.low.tolist(), keys.run.tolist(), strict=True))
            assert (part_of(keys.high, parts) == part).all()
        assert stored == wanted
    offset, length = found.dropped_range
    out = {
        segment: np.concatenate(several).tolist()
        for segment, several in found.dropped_rows(body[offset:][:length]).items()
    }
    expected: dict[tuple[str, int], list[int]] = defaultdict(list)
    for run, row, gone in sorted(zip(rows.run.tolist(), rows.row.tolist(), dropped, strict=True)):
        if gone:
            expected[runs.shards[runs.table["shard"][run]], int(runs.table["n"][run])].append(row)
    assert out == expected
    assert found.runs["rows"].tolist() == np.bincount(rows.run, minlength=7).tolist()
    assert found.runs["dropped"].sum() == sum(dropped)
    assert file_of(Random(seed), *place)[0] == body, "equal decisions are equal bytes"


def test_a_range_of_a_large_decision_file_is_read_without_the_rest() -> None:
    """By its buckets, each with its digest; twenty bytes a row."""
    body, _, rows, _ = file_of(Random(1), number=60_000)
    found = parse(body, len(body), "x")
    assert len(found.buckets) >= 4
    assert len(body) <= 20.2 * len(rows.high)
    assert found.buckets_of(1, len(found.buckets)) == (1, 2)
    assert found.bucket_bytes(1, 2)[1] < found.keys * 20 / 2
    assert len(keys_of(found, body, 1, len(found.buckets))) == found.bucket_bytes(1, 2)[1] // 20


@given(st.data())
def test_a_decision_file_is_refused_when_any_byte_is_changed(data: st.DataObject) -> None:
    """By the digest of its trailer, its keys or its dropped rows, when that part is read."""
    body = bytearray(file_of(Random(2))[0])
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((CorruptSegment, OtherVersion)):
        read_all(parse(bytes(body), len(body), "x"), bytes(body))


@given(st.data())
def test_a_decision_file_is_refused_when_it_is_truncated(data: st.DataObject) -> None:
    body = file_of(Random(2))[0]
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises((CorruptSegment, OtherVersion)):
        read_all(parse(body[:end], end, "x"), body[:end])


def read_all(found: Decided, body: bytes) -> None:
    """Read every part of a file."""
    keys_of(found, body, 0, 1)
    offset, length = found.dropped_range
    found.dropped_rows(body[offset : offset + length])


def test_a_decision_file_of_a_newer_version_is_refused_as_another_version() -> None:
    """It is not reported as corrupt: a newer program can read it."""
    body = file_of(Random(2))[0]
    with pytest.raises(OtherVersion, match="version 2"):
        parse(body[:-12] + b"\2\0\0\0" + body[-8:], len(body), "x")


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50), st.sampled_from([1, 2, 8, 64]))
def test_bounds_of_splits_sorted_keys_into_ranges_by_their_top_bits(words: list[int], parts: int) -> None:
    """The ranges together hold every key."""
    high = np.array(sorted(words), dtype=np.uint64)
    at = 0
    for part in range(parts):
        begin, end = bounds_of(high, part, parts)
        assert begin == at
        assert (part_of(high[begin:end], parts) == part).all()
        at = end
    assert at == len(words)
    none = np.empty(0, dtype=np.int64)
    keys = Keys(high, high, np.zeros(len(high), dtype=np.uint32), none, none)
    back = joined([keys.within(part, parts) for part in range(parts)])
    assert back.high.tolist() == high.tolist()


# Bounds of plans.


def test_read_plan_refuses_a_plan_of_another_version() -> None:
    """An older plan would publish all copies; what a newer one means is unknown."""
    plan = Plan(k=7, after=0, upto=5, shards={}, target=1)
    assert read_plan(msgspec.json.encode(plan), "plan.json") == plan
    for version, remedy in ((2, "reads 3 and later. Drain"), (4, "run the newer one")):
        plan.version = version
        with pytest.raises(OtherVersion, match=f"plan.json: format version {version};.*{remedy}"):
            read_plan(msgspec.json.encode(plan), "plan.json")


def recent(*reached: int) -> list[Recent]:
    """Plans from number 3 on, each with its upper bound."""
    return [Recent(3 + at, upto, 1, 10) for at, upto in enumerate(reached)]


def test_since_returns_the_first_plan_that_may_hold_a_key_within_the_window() -> None:
    """It never decreases, and is the plan itself if no earlier one matters."""
    assert needed_from((1000, 2000), 300, 5000) == 700
    assert needed_from((1000, 9000), 300, 5000) == 3700, "an arrival that lags by days counts as one window ago"
    assert since(0, recent(500, 699, 700, 800), 7, 700) == 5
    assert since(6, recent(500, 699, 700, 800), 7, 700) == 6
    assert since(3, recent(500, 600), 5, 700) == 5
    assert since(0, [], 0, 0) == 0


def test_parts_of_returns_a_stable_power_of_two() -> None:
    """At most the number of workers; zero without rows; the previous number if it still fits."""
    assert [parts_of(rows, 5, 100, 0) for rows in (0, 1, 199, 200, 800, 10**6)] == [0, 1, 1, 2, 4, 4]
    assert parts_of(800, 5, 100, 2) == 2
    assert parts_of(800, 5, 100, 1) == 4
    assert parts_of(150, 5, 100, 2) == 2
    assert parts_of(800, 1, 100, 4) == 1


def test_resolvers_keep_their_parts_from_plan_to_plan() -> None:
    """Other workers fill the gaps."""
    assert resolvers(["c", "a", "b"], 2, ()) == ("a", "b")
    assert resolvers(["c", "b", "d"], 2, ("a", "b")) == ("c", "b")
    assert resolvers(["c", "b"], 4, ("a", "b")) == ("b", "c", "b", "c")
