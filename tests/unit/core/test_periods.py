"""Periods of events, and the time formats that are read without a pattern."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from vortex.core.periods import PeriodReader, Rules, floor_period, parse_time

MINUTE = 60_000


@given(st.integers(-(10**13), 10**13), st.sampled_from([MINUTE, 5 * MINUTE, 60 * MINUTE]), st.integers(0, 10**9))
def test_closed_before_returns_the_earliest_open_period(watermark: int, period: int, lateness: int) -> None:
    """A period p is open while p + period + lateness > W. That holds for closed_before, and not for the period before
    it.
    """
    least = Rules(period, lateness).closed_before(watermark)
    assert least % period == 0
    assert least + period + lateness > watermark
    assert least - period + period + lateness <= watermark


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from([1000, 10_000, MINUTE, 5 * MINUTE, 60 * MINUTE]))
def test_period_reader_returns_the_same_period_from_its_cache(at: datetime, period: int) -> None:
    """The cache of prefixes does not change the answer."""
    text = f"{at.year:04d}-" + at.strftime("%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
    ms = parse_time(text)
    assert ms is not None
    reader = PeriodReader(period)
    assert reader.read(text) == reader.read(text) == floor_period(ms, period)


@given(st.text(max_size=30) | st.integers() | st.floats() | st.none())
def test_period_reader_never_raises(value: str | float | None) -> None:
    """For any value of the field."""
    PeriodReader(5 * MINUTE).read(value)


_TIMES = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["2018-12-18", "0999-02-29", "9999-12-31", "20181218", "2018-W51-2"]),
        st.sampled_from(["T", "t", " ", ""]),
        st.sampled_from(["07:05:09", "23:59:60", "24:00:00", "24:00:01", "07:05", "070509", "07:0x:09", "7:05:09"]),
        st.sampled_from(["", ".1", ".123", ",123456", ".123456789", ".", ".12x"]),
        st.sampled_from(["", "Z", "z", "+00:00", "-01", "+0530", " UTC", "+24:00", "Z[UTC]"]),
    ),
) | st.sampled_from(["1545116709", "-1545116709.5", "1545116709123456789", "12345678", "x"])


@given(st.lists(_TIMES, max_size=8), st.integers(1, 3), st.sampled_from([1000, 15_000, 5 * MINUTE]))
def test_period_reader_reads_a_column_as_it_reads_single_values(values: list[str], times: int, period: int) -> None:
    """In any mix of forms, and whatever the reader has cached."""
    reader = PeriodReader(period)
    wanted = [None if (ms := parse_time(value)) is None else floor_period(ms, period) for value in values]
    for _ in range(times):
        assert reader.column(values) == wanted
        assert [reader.read(value) for value in values] == wanted
    for value, one in zip(values, wanted, strict=True):
        assert reader.column([value] * 3) == [one] * 3
