"""The file of decisions: what it holds, reading a part of it, and what is refused."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.random_rows import pool_of, rows_of, runs_of
from vortex.core.dedup.decided import DECISION_TRAILER, Decided, encode, parse
from vortex.core.dedup.keys import Keys, bounds_of
from vortex.core.dedup.resolve import resolve
from vortex.core.dedup.rows import PlanRuns, Rows, part_of
from vortex.core.log.trailer import CorruptSegment, OtherVersion


def keys_of(found: Decided, body: bytes, part: int, parts: int) -> Keys:
    """The keys of a range, read from the buckets that hold it."""
    first, last = found.buckets_of(part, parts)
    offset, length = found.bucket_bytes(first, last)
    packed = found.keys_in(body[offset : offset + length], first, last)
    keys = Keys.room(len(packed), *found.times)
    keys.fill(packed)
    return keys.within(part, parts)


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
    found = parse(body[-DECISION_TRAILER.length(body, "x") :], len(body), "x")
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


def test_buckets_are_found_by_the_first_words_of_their_keys() -> None:
    """Each once, in order; keys of other parts lie in none."""
    body, _, rows, dropped = file_of(Random(1), number=60_000)
    found = parse(body, len(body), "x")
    kept = rows.high[~np.array(dropped)]
    numbers = found.buckets_with(kept)
    assert numbers.tolist() == list(range(len(found.buckets)))
    (few,) = found.buckets_with(kept[:1]).tolist()
    offset, length = found.bucket_bytes(few, few + 1)
    assert kept[0] in found.keys_in(body[offset : offset + length], few, few + 1)["high"]
    half, _, _, _ = file_of(Random(1), part=1, parts=2)
    assert parse(half, len(half), "y").buckets_with(np.array([0], dtype=np.uint64)).tolist() == []


def test_a_decision_file_is_refused_when_its_size_or_a_block_is_wrong() -> None:
    """The message names the file."""
    body, _, _, _ = file_of(Random(1))
    with pytest.raises(CorruptSegment, match=r"^x: has .* bytes"):
        parse(body, len(body) + 20, "x")
    found = parse(body, len(body), "x")
    with pytest.raises(CorruptSegment, match=r"^x: "):
        found.keys_in(b"", 0, len(found.buckets))
    with pytest.raises(CorruptSegment, match=r"^x: "):
        parse(body[-DECISION_TRAILER.length(body, "x") + 1 :], len(body), "x")
