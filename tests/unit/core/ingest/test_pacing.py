"""Pacing of GetRecords: how many records to ask for, and when, within the limits of a shard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.ingest.pacing import CALL_S, FIRST_RECORDS, MOST_RECORDS, PAGE_BYTES, next_call, next_limit, pause

MIB = 2**20


@pytest.mark.parametrize(
    ("limit", "records", "size", "then"),
    [
        (FIRST_RECORDS, 0, 0, FIRST_RECORDS),  # an empty page says nothing about sizes
        (FIRST_RECORDS, 100, 100 * 1024, 1000),  # small ones: tenfold at most
        (1000, 1000, 1000 * 1024, PAGE_BYTES // 1024),
        (MOST_RECORDS, 5000, 500_000, MOST_RECORDS),
        (MOST_RECORDS, 10, 10 * 2**20, 4),  # large ones: at once
        (MOST_RECORDS, 1, 10 * 2**20, 1),
        (1, 1, 0, 10),
    ],
)
def test_next_limit_aims_at_the_page_size_between_one_record_and_the_maximum(
    limit: int, records: int, size: int, then: int
) -> None:
    assert next_limit(limit, records, size) == then


@pytest.mark.parametrize(
    ("size", "behind_ms", "tip_s", "expected"),
    [
        pytest.param(0, 0, 1.0, 1.0, id="idle"),
        pytest.param(200, 0, 1.0, 1.0, id="a small page at the tip need not be followed soon"),
        pytest.param(MIB, 0, 1.0, 1.0, id="a second of a shard at its full rate"),
        pytest.param(MIB, 400, 1.0, 1.0, id="records came while the reply was made: still the tip"),
        pytest.param(200, 1001, 1.0, 0.25, id="behind, small pages: five calls a second are allowed"),
        pytest.param(0, 60_000, 1.0, 0.25, id="an empty page on the way, as is normal"),
        pytest.param(MIB, 60_000, 1.0, 0.524288, id="behind, large pages: 2 MB a second"),
        pytest.param(10 * MIB, 60_000, 1.0, 5.24288, id="a full reply"),
        pytest.param(10 * MIB, 0, 1.0, 5.24288, id="a full reply, and nothing after it"),
        pytest.param(9 * MIB + 1, 60_000, 1.0, 5.0, id="nearly full: the next record did not fit"),
        pytest.param(0, 0, 10.0, 10.0, id="asked seldom"),
        pytest.param(200, 9000, 10.0, 10.0, id="asked seldom: what came since is no lag"),
        pytest.param(200, 0, 0.0, 0.25, id="draining"),
    ],
)
def test_pause_depends_on_page_size_and_lag(size: int, behind_ms: int, tip_s: float, expected: float) -> None:
    """In seconds."""
    assert pause(size, behind_ms, tip_s) == pytest.approx(expected)


@given(st.integers(0, 10 * MIB), st.integers(0, 90_000_000), st.floats(0, 60))
def test_pause_keeps_the_limits_of_calls_and_bytes_per_second(size: int, behind_ms: int, tip_s: float) -> None:
    seconds = pause(size, behind_ms, tip_s)
    assert seconds > 1 / 5
    assert size / seconds < 2 * MIB


def test_next_call_aligns_idle_shards_to_common_ticks() -> None:
    """Whenever each began, and as often as before."""
    replied = [17.031 + 0.0317 * shard for shard in range(40)]
    for _ in range(5):
        called = [next_call(at, 0, 0, 1.0) for at in replied]
        assert all(0.75 <= call - at <= 1.0 for call, at in zip(called, replied, strict=True))
        replied = [call + 0.02 for call in called]
    assert {call % 0.25 for call in called} == {0.0}
    assert [call + 1.0 for call in called] == pytest.approx([next_call(at, 0, 0, 1.0) for at in replied])


@pytest.mark.parametrize("tip_s", [0.0, 0.25, 0.3, 1.0])
def test_next_call_never_comes_before_the_minimum_interval(tip_s: float) -> None:
    """Also where a tick would come earlier."""
    assert all(next_call(step * 0.0173, 0, 0, tip_s) - step * 0.0173 >= CALL_S - 1e-9 for step in range(200))


def test_next_call_is_not_aligned_when_a_page_has_records_or_the_shard_lags() -> None:
    assert next_call(17.031, 100, 0, 1.0) == 17.031 + pause(100, 0, 1.0)
    assert next_call(17.031, 0, 5000, 1.0) == 17.031 + pause(0, 5000, 1.0)
